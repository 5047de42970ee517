#!/bin/bash
# The twenty samples of docs/qig-nano.md: fixed prompts, default sampling, seeds 1 to 20, nothing chosen or edited.
#   [MODEL=file.gguf] runs/nano-samples.sh
set -euo pipefail
QIG_EDGE=${QIG_EDGE:-qig-edge}
seed=0
while IFS= read -r prompt; do
    seed=$((seed + 1))
    printf '%d. **%s**\n' "$seed" "$prompt"
    $QIG_EDGE chat ${MODEL:+"$MODEL"} -p "$prompt" --seed "$seed" -t 1 2> /dev/null < /dev/null | sed 's/^/   > /'
    echo
done <<'PROMPTS'
Hello!
Who are you?
Tell me a story about a fox.
Tell me a story about a girl and a kite.
What color is the sky?
What is the opposite of hot?
What sound does a cow make?
How many legs does a spider have?
What is three plus four?
Which is bigger, 7 or 12?
Name three fruits.
Why do we sleep?
How do I make tea?
What is a river?
What will the weather be tomorrow?
I feel sad today.
Where do penguins live?
What comes after Thursday?
What is the capital of France?
Write a short poem about the moon.
PROMPTS
