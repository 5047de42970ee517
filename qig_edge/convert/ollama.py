"""What `ollama create` takes beside a GGUF file: a Modelfile with the chat format, stop tokens, sampling, context and system prompt.

Stock Ollama runs the llama layout (a dense twin, or a QIG model's student) and the layout of gpt2 (a Jarvis model), and no QIG model: the Modelfile
says which of them it is for. What only a QIG model has goes
into the file's metadata (qig.parameters.*) and here into comments, because Ollama refuses parameters that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from qig_edge.model.kernel import Kernel

MODELFILE = "Modelfile"
# the chat format of qig_edge.train.tokenizer.CHAT_TEMPLATE, in Go's template language
TEMPLATE = "{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}<|end|>{{ end }}<|assistant|>"
STOPS = ("<|end|>", "<|endoftext|>")
# a Jarvis model goes on with a text: it has no roles
PLAIN_TEMPLATE = "{{ .Prompt }}"
PLAIN_STOPS = ("<eos>",)
# as in a checkpoint's generation_config.json
SAMPLING = {"temperature": 0.7, "top_k": 40, "top_p": 0.95}
# by general.architecture
RUNS = {
    "qig": "stock Ollama cannot run a QIG model: it has no code for the architecture 'qig'; qig-edge runs the file",
    "arcee": "stock Ollama runs it where its llama.cpp knows the architecture 'arcee'",
    "jarvis-quantum": "stock Ollama cannot run this layout of a Jarvis model: --layout gpt2 is for it; qig-edge runs the file",
    "gpt2": "stock Ollama runs it: the layout is that of gpt2",
}


def parameters(model: Kernel) -> dict[str, float | bool]:
    """What a QIG model has beyond Ollama's parameters, of those that are on; temperature of attention: the mean over heads. Empty for a twin."""
    config, at = model.config, model.thresholds()
    if config.attention != "qfi":
        return {}
    heads = [
        h
        for name, value in model.state_dict().items()
        if name.startswith("blocks.") and name.endswith(".attn.log_temperature")
        for h in value.exp().tolist()
    ]
    found: dict[str, float | bool] = {"attention_temperature": sum(heads) / len(heads)}
    if at.collapse is not None:
        found["decoherence_threshold"] = at.collapse
    if config.code_rate:
        found["code_rate_max_entropy"] = config.code_rate
    if config.regime:
        found |= {"linear_threshold": at.regime_low, "breakdown_threshold": at.regime_high}
    return found | {"show_telemetry": False}


NAMES = (
    "attention_temperature",
    "decoherence_threshold",
    "code_rate_max_entropy",
    "linear_threshold",
    "breakdown_threshold",
    "show_telemetry",
)


def check_system(system: str | None) -> None:
    """Raises ConfigError for a system prompt that no Modelfile can hold."""
    if system is not None and ('"""' in system or system.endswith('"')):
        raise ConfigError("--system: a Modelfile's text ends at three quotation marks: leave them, and one at the end, out")


def modelfile(
    file: str, architecture: str, context: int, licence: str | None, system: str | None, own: Mapping[str, float | bool]
) -> str:
    """The Modelfile's text. file: name of the GGUF file beside it; architecture: one of RUNS; own: of `parameters`."""
    chats = architecture in ("qig", "arcee")
    template, stops = (TEMPLATE, STOPS) if chats else (PLAIN_TEMPLATE, PLAIN_STOPS)
    lines = [f"# {RUNS[architecture]}.", f"FROM ./{file}"]
    lines += [f"PARAMETER {name} {value:g}" for name, value in SAMPLING.items()]
    lines.append(f"PARAMETER num_ctx {context}")
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    lines.append(f'TEMPLATE """{template}"""')
    if system:
        lines.append(f'SYSTEM """{system}"""')
    if licence:
        lines.append(f'LICENSE """{licence}"""')
    if architecture == "qig":
        lines.append("# Parameters of QIG models. Stock Ollama ignores them; the file holds them as qig.parameters.*:")
        lines += [f"#   {name} {_shown(own.get(name))}" for name in NAMES]
    return "\n".join([*lines, ""])


def _shown(value: float | bool | None) -> str:
    if value is None:
        return "off"
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}"
