"""What a Modelfile says of a Jarvis model. Ollama runs the layout of gpt2 (`qig-edge convert FILE.npz --layout gpt2`)."""

from __future__ import annotations

import dataclasses

LAYOUT = "gpt2"


@dataclasses.dataclass(frozen=True)
class ModelfileParts:
    """template: of TEMPLATE, in Ollama's Go syntax; stop: texts that end an answer, each a PARAMETER stop; num_ctx: PARAMETER num_ctx, in tokens."""

    template: str
    stop: tuple[str, ...]
    num_ctx: int


def modelfile_parts(context_length: int) -> ModelfileParts:
    """Of a model that goes on with a text: it has no roles, so a prompt stands as it is and nothing comes of a system prompt."""
    return ModelfileParts("{{ .Prompt }}", ("<eos>",), context_length)
