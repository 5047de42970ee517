# The reader, the model object and the tokenizer.
list(APPEND QIG_SRC_CORE src/gguf.c src/model.c src/model_depth.c src/model_jarvis.c src/model_llama.c src/model_open.c src/settings.c src/tokenizer.c src/unicode.c)
# What the tokenizer is made of.
list(APPEND QIG_SRC_CORE src/pretokenize.c src/tokenizer_bpe.c src/tokenizer_chat.c src/tokenizer_heap.c src/tokenizer_spm.c src/vocabulary.c)
