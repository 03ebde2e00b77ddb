"""What a config asks of a setting, a (model, task) pair with the overrides of its cells: do the numbers go together?"""

from collections.abc import Iterator

from oneshot.baselines import METHODS
from oneshot.measures.bands import quantities
from oneshot.workflow import signatures
from oneshot.workflow.plan import Plan


def about_setting(plan: Plan, model: str, task: str) -> Iterator[str]:
    """Every complaint, a line each that begins with the key."""
    batch, search = (plan.section(name, model, task) for name in ("batch", "line_search"))
    if batch["prompts"] % batch["blocks"]:
        yield f"batch.prompts: {batch['prompts']} do not make {batch['blocks']} equal blocks (batch.blocks)"
    if batch["blocks"] % batch["shards"]:
        yield f"batch.blocks: {batch['blocks']} do not make {batch['shards']} equal shards (batch.shards)"
    train = plan.config["splits"][task]["train"]["problems"]
    if train < batch["prompts"]:
        yield f"splits.{task}.train.problems: {train} are fewer than the {batch['prompts']} prompts of the batch"
    if plan.batch_rollouts(model, task) < search["probe_rollouts"]:
        yield f"line_search.probe_rollouts: more than the {plan.batch_rollouts(model, task)} rollouts of the batch"
    if search["evaluations"] <= len(search["multiples"]):
        yield "line_search.evaluations: fewer than the base and the grid (line_search.multiples) take"
    group_size = plan.batch_group_size(model, task)
    if (used := plan.section("diagnostics", model, task)["rollouts"]) % group_size:
        yield f"diagnostics.rollouts: {used} are not whole groups of {group_size}"
    if used < (least := 2 * signatures.constant("oneshot.diagnostics.turning", "PARTS") * group_size):
        yield f"diagnostics.rollouts: {used} are fewer than {least}, which notebook 04_turning takes"
    for size in plan.section("failure", model, task)["sizes"]:
        if size % group_size or size >= plan.batch_rollouts(model, task):
            yield f"failure.sizes: {size} are not whole groups of {group_size} from a part of the batch"
    if search["shares"] != sorted(search["shares"]) or search["shares"][-1] != 1:
        yield f"line_search.shares: {search['shares']} do not rise to 1.0"
    for arm in sorted({job.arm for job in plan.jobs if (job.model, job.task) == (model, task)}):
        yield from _about_arm_at(plan, model, task, arm)
    known = quantities(plan.config["splits"][task]["validation"]["tasks"])
    if unknown := sorted(set(plan.section("acceptance", model, task)) - set(known)):
        yield f"acceptance.{unknown[0]}: no such quantity on {task}: measured are {', '.join(known)}"


def _about_arm_at(plan: Plan, model: str, task: str, arm: str) -> Iterator[str]:
    """What an arm's settings ask of the setting that it is run on."""
    entry, whole = plan.arm(model, task, arm), plan.batch_rollouts(model, task)
    settings, group_size = entry.get("settings", {}), plan.batch_group_size(model, task)
    if (used := settings.get("rollouts", 0)) % group_size or used > whole:
        yield f"arms.{arm}.settings.rollouts: {used} are not whole groups of {group_size} from the batch"
    train = plan.config["splits"][task]["train"]["problems"]
    most = max(settings.get("prompts_per_step", 0), *(entry.get("tune") or {}).get("prompts_per_step", [0]))
    if most > train:
        yield f"arms.{arm}: prompts_per_step: {most} are more than splits.{task}.train.problems, {train}"
    shared = plan.section("engine", model, task).get("processes", 1)
    method = METHODS.get(entry["method"])
    if shared > 1 and method and signatures.constant(method, "IN_ONE_PROCESS", False):
        yield f"engine.processes: {shared}, but {entry['method']} (arms.{arm}) uses rollouts again: that takes 1"
