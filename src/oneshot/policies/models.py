"""Policies: a causal language model of `transformers` with its tokenizer, and their weights as vectors.

The from-scratch family is Qwen3 in miniature, built by `build_policy`; a pretrained model is loaded by
`oneshot.policies.pretrained`. Everything is FP32 unless a config says otherwise: small steps vanish in BF16.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from torch.nn import Module
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.utils import logging

from oneshot.files import BadFile, atomic_path, intact, read_json, sha256, write_json
from oneshot.policies.prompts import PromptFormat

PAD, END = "<pad>", "<end>"
CHARACTERS = [chr(code) for code in range(ord(" "), ord("~") + 1) if not chr(code).isdigit()] + ["\n"]


@dataclass(frozen=True)
class Policy:
    """A model with its tokenizer and the format of its prompts."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    products: str = "float32"
    """Precision of the matrix products where gradients are taken, but for the head's; weights and sums keep theirs."""
    processes: int = 1
    """How many share the model where gradients and steps are taken (`oneshot.steps.sharded`)."""

    @property
    def end_id(self) -> int:
        """The token that ends a completion."""
        return self.encode(self.prompt_format.end)[0] if self.prompt_format.end else self.tokenizer.eos_token_id

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def rounded(self) -> AbstractContextManager:
        """Inside it, matrix products are taken in `products`, and their sums in FP32."""
        if self.products == "float32":
            return nullcontext()
        return torch.autocast(self.model.device.type, getattr(torch, self.products))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def encode_prompt(self, task: str, problem: str, opening: str = "") -> list[int]:
        """The tokens of a task's problem in this model's prompt format, and of the forced opening of its answer."""
        return self.encode(self.prompt_format.render(self.tokenizer, task, problem) + opening)

    def decode(self, token_ids: list[int]) -> str:
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)


def build_tokenizer(words: Sequence[str], largest_number: int) -> PreTrainedTokenizerFast:
    """Single tokens for the given words and for numbers up to `largest_number` (9 or 99), else one per character.

    The characters are printable ASCII and the newline.
    """
    numbers = [str(number) for number in range(largest_number + 1)]
    vocabulary = {token: index for index, token in enumerate([PAD, END, *words, *numbers, *CHARACTERS])}
    tokenizer = Tokenizer(WordLevel(vocabulary))
    digits = r"\d\d?" if largest_number > 9 else r"\d"
    longest_first = map(re.escape, sorted(words, key=len, reverse=True))
    pieces = Regex("|".join([*longest_first, digits, r"(?m:.)"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pieces, behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


def build_policy(size: dict, seed: int, words: Sequence[str] = (), largest_number: int = 99) -> Policy:
    """An untrained policy. `size`: hidden, layers, heads, feed_forward. The seed fixes the initialisation.

    `words` and `largest_number` are those of the tasks it is to learn.
    """
    tokenizer = build_tokenizer(words, largest_number)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size["hidden"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["heads"],
        head_dim=size["hidden"] // size["heads"],
        intermediate_size=size["feed_forward"],
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=size["hidden"] ** -0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,  # else its embedding would start at zero, where RMSNorm is steepest, and get no gradient
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Policy(Qwen3ForCausalLM(config).eval(), tokenizer)


def save_policy(policy: Policy, folder: str | Path, metadata: dict) -> None:
    """Write tokenizer, config and `policy.json` (metadata, fingerprint), and last the weights, which complete it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    policy.tokenizer.save_pretrained(folder)
    policy.model.config.architectures = [type(policy.model).__name__]  # other engines identify the model by it
    policy.model.config.save_pretrained(folder)
    description = {"fingerprint": fingerprint(policy.model), "dtype": str(policy.model.dtype).removeprefix("torch.")}
    description |= {"prompt": asdict(policy.prompt_format), "files": _digests(folder)}
    write_json({**metadata, **description}, folder / "policy.json")
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(checkpoint(policy.model), temporary, metadata={"format": "pt"})


def checkpoint(model: Module) -> dict[str, Tensor]:
    """Weights by name. Tied weights are saved once, under the embedding's name, as other loaders expect."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def _digests(folder: Path) -> dict[str, str]:
    """Of all files beside the weights that make the policy what it is: tokenizer, template, config."""
    own = ("policy.json", "model.safetensors")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".jinja") and path.name not in own]
    return {path.name: sha256(path) for path in files if not path.name.startswith(".")}


def load_policy(folder: str | Path, device: str | torch.device = "cpu", **training: str | int) -> Policy:
    """The policy in that folder, in the precision it was saved in, on `device`. `training`: see Policy.

    Raises BadFile, naming the folder or file and what is wrong with it.
    """
    folder = Path(folder)
    description = read_json(intact(folder / "policy.json")) if (folder / "policy.json").exists() else {}
    if files := description.get("files", {}):
        now = _digests(folder)
        if changed := sorted(name for name in files.keys() | now.keys() if files.get(name) != now.get(name)):
            raise BadFile(f"{folder}: {changed[0]} is not what it was: delete model.safetensors, and it is made anew")
    dtype = getattr(torch, description.get("dtype", "float32"))
    logging.disable_progress_bar()  # every notebook loads policies from the disk, in no time
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadFile(f"{folder}: not a policy ({str(error).splitlines()[0]})") from error
    for role in ("pad", "eos"):
        if getattr(tokenizer, f"{role}_token_id") is None:
            raise BadFile(f"{folder}: the tokenizer has no {role} token")
    if description.get("fingerprint", fingerprint(model)) != fingerprint(model):
        raise BadFile(f"{folder}: the weights are not those that policy.json was written for")
    return Policy(model.eval().to(device), tokenizer, PromptFormat(**description.get("prompt", {})), **training)


def fingerprint(model: Module) -> str:
    """16 hex digits over the names and bits of all parameters: equal weights, equal fingerprint."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
