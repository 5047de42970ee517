"""The suite "reasoning": the published question sets, asked and scored as EleutherAI's lm-evaluation-harness does it."""
