# The engine (session, forward pass, sampler, thread pool) and the qig program.
list(APPEND QIG_SRC_ENGINE src/bandwidth.c src/board.c src/topology.c src/block.c src/depth.c src/draft.c src/draft_length.c src/exits.c src/forward.c src/pass.c src/pool.c src/sampler.c src/fingerprint.c src/session.c src/session_disk.c src/session_file.c src/speculate.c src/telemetry.c src/thread_count.c)
list(APPEND QIG_SRC_MAIN src/main.c src/main_args.c src/main_bench.c src/main_chat.c src/main_draw.c src/main_generate.c src/main_info.c src/main_keep.c src/main_state.c src/main_util.c)
