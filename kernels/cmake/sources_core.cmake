# The reader, the model object and the tokenizer.
list(APPEND QIG_SRC_CORE src/gguf.c src/model.c src/model_depth.c src/model_open.c src/settings.c src/tokenizer.c src/unicode.c)
