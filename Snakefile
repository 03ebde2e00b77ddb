# The whole experiment as one DAG. `snakemake --cores all figures` regenerates every figure and table.
#
#   00 problems ─┬─ 00 acceptance ─┬─ 01 sample ─ 02 gradient ─┬─ 03 direction ─ 03 line search ─┬─ 09 figures, tables
#   00 policy ───┘     (gate)      │   (shards)     (shards)   ├─ 03 slope, 04 batch, curvature ─┤
#                                  │                           └─ 08 failure ────────────────────┤
#                                  ├─ 01 tries, 06 scale ────────────────────────────────────────┤
#                                  ├─ 01 base ─┬─ (03 line search)                               │
#                                  │           └─ 05 baseline, any other arm ─┬──────────────────┤
#                                  │                            with its path └─ 04 trajectory, turning
#                                  └─ 05 tuning, on a policy that is not reported ───────────────┴─ 10 summary
#   00 theory, 00 expectations, 07 frontier (all arms) ────────────────────────────────────────── 09 figures
#
# Each rule runs one notebook through papermill. The notebook's parameters cell is its signature: wildcards and sections
# of the config are looked up by name, and inputs and outputs are passed under the names they have in the rule. The
# executed copy is the rule's log, so it survives a failure with the traceback in it. Editing prose or outputs of a
# notebook re-runs nothing: what counts is the digest of the code that it runs. Only notebooks are `ancient`: of a job that
# has an ancient input which is to be made anew, Snakemake overlooks that its own parameters have changed (its issue 4166).
import sys
from itertools import filterfalse
from pathlib import Path

import yaml

from oneshot.workflow import catalogue, digests, experiment, lock, signatures
from oneshot.workflow.plan import Plan


configfile: "config/protocol.yaml"


if not workflow.overwrite_configfiles:

    configfile: "config/laptop.yaml"


report: "paper/report.rst"


experiment.check(
    config, yaml.safe_load(open(workflow.source_path("config/schema.yaml")))
)
experiment.check_host(config)
plan = Plan(config)
figures = catalogue.load(workflow.source_path("config/figures.yaml"))

RESULTS = f"results/{config['experiment']}"
FIGURES = f"figures/{config['experiment']}"
POLICY = RESULTS + "/policies/{model}/policy{policy}"
PROBLEMS = RESULTS + "/problems/{task}/policy{policy}"
BASE = RESULTS + "/{model}/{task}/policy{policy}"
RUN = BASE + "/run{run}"
ARM = RUN + "/arms/{arm}"
TUNING = RESULTS + "/{model}/{task}/tuning"
SHARDS = range(config["batch"]["shards"])
MAIN = plan.jobs[0]  # `make main`: this policy and run alone
PAPERMILL = f"{sys.executable} -m papermill"


def code(notebook):
    """The digest of the code that a job runs. Like `settings`, it takes no `input`: Snakemake does not record params
    that depend on it, and would not notice a change."""
    return lambda wildcards: digests.job_digest(
        notebook, plan.picked(notebook, dict(wildcards.items()))
    )


def settings(notebook):
    """A job's parameters from config and wildcards, as YAML (in which 1.0e-5 stays a number)."""
    return lambda wildcards: as_yaml(plan.parameters(notebook, dict(wildcards.items())))


def as_yaml(parameters):
    return yaml.safe_dump(
        parameters, default_flow_style=True, sort_keys=False, width=2**30
    ).strip()


def files(wildcards, input, output):
    """The paths of a job, under the names that its rule and its notebook share."""
    signatures.check_files(Path(input[0]).stem, set(input.keys()))
    inputs = {
        name: value if isinstance(value, str) else list(value)
        for name, value in input.items()
    }
    for name in inputs:
        if name.endswith("_folders"):  # hundreds of tables, in as few words as possible
            inputs[name] = signatures.by_folder(inputs[name])
    return as_yaml({**inputs, "out": dict(output.items())})


def read_by(names, main_job=False):
    """The paths of all tables that these figures read, for all jobs of the plan or for the main job alone."""
    return [
        path
        for table in figures.tables(names)
        for path in PATHS[table](jobs_of(main_job))
    ]


def jobs_of(main_job):
    same_run = ("model", "task", "policy", "run")
    if not main_job:
        return plan.jobs
    return [
        job
        for job in plan.jobs
        if all(getattr(job, name) == getattr(MAIN, name) for name in same_run)
    ]


def once(pattern, jobs):
    return list(dict.fromkeys(pattern.format(**vars(job)) for job in jobs))


PATHS = {
    **{
        table: lambda jobs, table=table: once(ARM + f"/{table}.csv", jobs)
        for table in catalogue.ARM_TABLES
    },
    **{
        table: lambda jobs, table=table: once(RUN + f"/{table}.csv", jobs)
        for table in catalogue.RUN_TABLES
    },
    **{
        table: lambda jobs, table=table: once(
            RUN + f"/{table}.csv", [job for job in jobs if plan.keeps_path(job.arm)]
        )
        for table in catalogue.PATH_TABLES
    },
    "acceptance": lambda jobs: once(
        BASE + "/acceptance.csv",
        plan.policies if jobs == plan.jobs else jobs,  # some policies are only examined
    ),
    "neighbours": lambda jobs: once(BASE + "/neighbours.csv", jobs),
    "expectations": lambda jobs: once(rules.expectations.output.expectations, jobs),
    "tuning": lambda jobs: once(TUNING + "/{arm}/tuning.csv", plan.tuned),
    "theory": lambda jobs: [RESULTS + "/theory.csv"],
    "frontier": lambda jobs: [RESULTS + "/frontier.csv"],
}
ARM_OUTPUTS = {table: ARM + f"/{table}.csv" for table in catalogue.ARM_TABLES}


def shards_used(pattern, **fixed):
    """The shards of the batch's files, for an arm whose method learns from the batch; none for the others."""
    return lambda wildcards: expand(
        pattern,
        shard=SHARDS if plan.uses_batch(wildcards.arm) else [],
        **{**wildcards, **fixed},
    )


def files_of(name, chosen, twin=False):
    """A file of each arm of a run that is `chosen`, or of its twin: the same arm in another run of the policy."""

    def paths(wildcards):
        run = {
            key: int(value) if value.isdecimal() else value
            for key, value in wildcards.items()
        }
        jobs = plan.twins(**run) if twin else plan.of_run(**run)
        return once(f"{ARM}/{name}", [job for job in jobs if chosen(job.arm)])

    return paths


def described(wildcards):
    """What Snakemake's report says of a figure or table."""
    told = {"question": figures.entries[wildcards.figure]["claim"]}
    return {"name": wildcards.figure.replace("_", " "), **told}


def one_of(names):
    """A wildcard's constraint; without names, one that matches nothing."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    model=one_of(config["models"]),
    task=one_of(config["splits"]),
    arm=one_of(config["arms"]),
    figure=one_of(figures.names),
    policy=r"\d+",
    run=r"\d+",
    shard=r"\d+",
    scope="|main_job/",


localrules:
    figures,
    main,
    family,
    gallery,


rule figures:
    input:
        figures.files(FIGURES),
        RESULTS + "/provenance.json",


rule main:
    input:
        figures.files(FIGURES + "/main_job", main_job=True),


rule family:
    input:
        once(BASE + "/acceptance.csv", plan.policies),


rule notebook:
    conda:
        "environment.yml"
    threads: config["threads"]
    resources:
        gpu=lambda wildcards: plan.num_gpus(
            wildcards.get("model"), wildcards.get("task")
        ),
    params:
        code="",
        settings="{}",
        files=files,
    shell:
        "exec env MPLBACKEND=inline OMP_NUM_THREADS={threads} SOURCE_DATE_EPOCH=0 ONESHOT_GPUS={resources.gpu} {PAPERMILL} {input[0]} {log[0]} "
        "--engine ipc --kernel python3 --cwd . --no-progress-bar -y {params.settings:q} -y {params.files:q}"


use rule notebook as theory with:
    input:
        ancient("notebooks/00_theory.ipynb"),
    output:
        predictions=RESULTS + "/theory.csv",
    log:
        RESULTS + "/00_theory.ipynb",
    resources:
        gpu=0,
    params:
        code=code("00_theory"),
        settings=settings("00_theory"),


use rule notebook as expectations with:
    input:
        ancient("notebooks/00_expectations.ipynb"),
    output:
        expectations=RESULTS + "/{model}/{task}/expectations.csv",
    log:
        RESULTS + "/{model}/{task}/00_expectations.ipynb",
    resources:
        gpu=0,
    params:
        code=code("00_expectations"),
        settings=settings("00_expectations"),


use rule notebook as problems with:
    input:
        ancient("notebooks/00_problems.ipynb"),
    output:
        **{split: f"{PROBLEMS}/{split}.jsonl" for split in catalogue.SPLITS},
    log:
        PROBLEMS + "/00_problems.ipynb",
    resources:
        gpu=0,
    params:
        code=code("00_problems"),
        settings=settings("00_problems"),


use rule notebook as pretrain with:
    input:
        ancient("notebooks/00_pretrain.ipynb"),
    output:
        policy=POLICY + "/model.safetensors",
    log:
        POLICY + "/00_pretrain.ipynb",
    wildcard_constraints:
        model=one_of(name for name in config["models"] if not plan.is_pretrained(name)),
    resources:
        gpu=0,
    params:
        code=code("00_pretrain"),
        settings=settings("00_pretrain"),


use rule notebook as load with:
    input:
        ancient("notebooks/00_load.ipynb"),
    output:
        policy=POLICY + "/model.safetensors",
    log:
        POLICY + "/00_load.ipynb",
    wildcard_constraints:
        model=one_of(name for name in config["models"] if plan.is_pretrained(name)),
    params:
        code=code("00_load"),
        settings=settings("00_load"),


use rule notebook as acceptance with:
    input:
        ancient("notebooks/00_acceptance.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        validation_path=PROBLEMS + "/validation.jsonl",
        retention_path=PROBLEMS + "/retention.jsonl",
    output:
        acceptance=BASE + "/acceptance.csv",
    log:
        BASE + "/00_acceptance.ipynb",
    params:
        code=code("00_acceptance"),
        settings=settings("00_acceptance"),


use rule notebook as base with:
    input:
        ancient("notebooks/01_base.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        validation_path=PROBLEMS + "/validation.jsonl",
        test_path=PROBLEMS + "/test.jsonl",
        retention_path=PROBLEMS + "/retention.jsonl",
        acceptance_path=BASE + "/acceptance.csv",
    output:
        points=RUN + "/base/points.csv",
        by_problem=RUN + "/base/by_problem.csv",
    log:
        RUN + "/notebooks/01_base.ipynb",
    params:
        code=code("01_base"),
        settings=settings("01_base"),


use rule notebook as tries with:
    input:
        ancient("notebooks/01_tries.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        test_path=PROBLEMS + "/test.jsonl",
        acceptance_path=BASE + "/acceptance.csv",
    output:
        tries=RUN + "/tries.csv",
        tried=RUN + "/tried.csv",
    log:
        RUN + "/notebooks/01_tries.ipynb",
    params:
        code=code("01_tries"),
        settings=settings("01_tries"),


use rule notebook as sample with:
    input:
        ancient("notebooks/01_sample.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        train_path=PROBLEMS + "/train.jsonl",
        acceptance_path=BASE + "/acceptance.csv",
    output:
        rollouts=RUN + "/rollouts/shard{shard}.parquet",
        timings=RUN + "/timings/sample{shard}.csv",
    log:
        RUN + "/notebooks/01_sample{shard}.ipynb",
    params:
        code=code("01_sample"),
        settings=settings("01_sample"),


use rule notebook as gradient with:
    input:
        ancient("notebooks/02_gradient.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        rollouts_path=RUN + "/rollouts/shard{shard}.parquet",
    output:
        gradient=RUN + "/gradient/shard{shard}.safetensors",
        reward_gradient=RUN + "/reward_gradient/shard{shard}.safetensors",
        timings=RUN + "/timings/gradient{shard}.csv",
    log:
        RUN + "/notebooks/02_gradient{shard}.ipynb",
    params:
        code=code("02_gradient"),
        settings=settings("02_gradient"),


use rule notebook as direction with:
    input:
        ancient("notebooks/03_direction.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        train_path=PROBLEMS + "/train.jsonl",
        rollouts_paths=expand(
            rules.sample.output.rollouts, shard=SHARDS, allow_missing=True
        ),
        gradient_paths=expand(
            rules.gradient.output.gradient, shard=SHARDS, allow_missing=True
        ),
    output:
        direction=ARM + "/direction.safetensors",
        scale=ARM + "/scale.csv",
        timings=RUN + "/timings/direction_{arm}.csv",
    log:
        ARM + "/03_direction.ipynb",
    params:
        code=code("03_direction"),
        settings=settings("03_direction"),


use rule notebook as line_search with:
    input:
        ancient("notebooks/03_line_search.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        validation_path=PROBLEMS + "/validation.jsonl",
        test_path=PROBLEMS + "/test.jsonl",
        retention_path=PROBLEMS + "/retention.jsonl",
        rollouts_paths=rules.direction.input.rollouts_paths,
        timings_paths=expand(
            RUN + "/timings/{stage}{shard}.csv",
            stage=["sample", "gradient"],
            shard=SHARDS,
            allow_missing=True,
        ),
        direction_path=rules.direction.output.direction,
        scale_path=rules.direction.output.scale,
        probe_path=rules.direction.output.timings,
        base_paths=[rules.base.output.points, rules.base.output.by_problem],
    output:
        **ARM_OUTPUTS,
    log:
        ARM + "/03_line_search.ipynb",
    wildcard_constraints:
        arm=one_of(filter(plan.is_searched, plan.arms)),
    params:
        code=code("03_line_search"),
        settings=settings("03_line_search"),


use rule notebook as slope with:
    input:
        ancient("notebooks/03_slope.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        validation_path=PROBLEMS + "/validation.jsonl",
        rollouts_paths=rules.direction.input.rollouts_paths,
        gradient_paths=rules.direction.input.gradient_paths,
        reward_gradient_paths=expand(
            rules.gradient.output.reward_gradient, shard=SHARDS, allow_missing=True
        ),
    output:
        slope=RUN + "/slope.csv",
    log:
        RUN + "/notebooks/03_slope.ipynb",
    params:
        code=code("03_slope"),
        settings=settings("03_slope"),


use rule notebook as baseline with:
    input:
        ancient("notebooks/05_baseline.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        train_path=PROBLEMS + "/train.jsonl",
        validation_path=PROBLEMS + "/validation.jsonl",
        test_path=PROBLEMS + "/test.jsonl",
        retention_path=PROBLEMS + "/retention.jsonl",
        base_paths=rules.line_search.input.base_paths,
        rollouts_paths=shards_used(rules.sample.output.rollouts),
        timings_paths=shards_used(rules.sample.output.timings),
    output:
        **ARM_OUTPUTS,
    log:
        ARM + "/05_baseline.ipynb",
    wildcard_constraints:
        arm=one_of(filterfalse(plan.keeps_path, plan.trained)),
    params:
        code=code("05_baseline"),
        settings=settings("05_baseline"),


use rule baseline as followed with:
    output:
        **ARM_OUTPUTS,
        trajectory=ARM + "/trajectory.safetensors",
    wildcard_constraints:
        arm=one_of(filter(plan.keeps_path, plan.trained)),


use rule notebook as batch with:
    input:
        ancient("notebooks/04_batch.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        train_path=PROBLEMS + "/train.jsonl",
        rollouts_paths=rules.direction.input.rollouts_paths,
        gradient_paths=rules.direction.input.gradient_paths,
    output:
        consistency=RUN + "/consistency.csv",
        clusters=RUN + "/clusters.csv",
        signs=RUN + "/signs.csv",
    log:
        RUN + "/notebooks/04_batch.ipynb",
    params:
        code=code("04_batch"),
        settings=settings("04_batch"),


use rule notebook as curvature with:
    input:
        ancient("notebooks/04_curvature.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        validation_path=PROBLEMS + "/validation.jsonl",
        rollouts_paths=rules.direction.input.rollouts_paths,
        gradient_paths=rules.direction.input.gradient_paths,
    output:
        curvature=RUN + "/curvature.csv",
        ways=RUN + "/ways.csv",
    log:
        RUN + "/notebooks/04_curvature.ipynb",
    params:
        code=code("04_curvature"),
        settings=settings("04_curvature"),


use rule notebook as scale with:
    input:
        ancient("notebooks/06_scale.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        validation_path=PROBLEMS + "/validation.jsonl",
        retention_path=PROBLEMS + "/retention.jsonl",
        acceptance_path=BASE + "/acceptance.csv",
    output:
        neighbours=BASE + "/neighbours.csv",
    log:
        BASE + "/06_scale.ipynb",
    params:
        code=code("06_scale"),
        settings=settings("06_scale"),


use rule notebook as frontier with:
    input:
        ancient("notebooks/07_frontier.ipynb"),
        table_folders=read_by(["pareto"]),
    output:
        frontier=RESULTS + "/frontier.csv",
    log:
        RESULTS + "/07_frontier.ipynb",
    resources:
        gpu=0,
    params:
        code=code("07_frontier"),
        settings=settings("07_frontier"),


use rule notebook as failure with:
    input:
        ancient("notebooks/08_failure.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        train_path=PROBLEMS + "/train.jsonl",
        validation_path=PROBLEMS + "/validation.jsonl",
        rollouts_paths=rules.direction.input.rollouts_paths,
        gradient_paths=rules.direction.input.gradient_paths,
    output:
        overfit=RUN + "/overfit.csv",
        informative=RUN + "/informative.csv",
    log:
        RUN + "/notebooks/08_failure.ipynb",
    params:
        code=code("08_failure"),
        settings=settings("08_failure"),


use rule notebook as trajectory with:
    input:
        ancient("notebooks/04_trajectory.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        rollouts_paths=rules.direction.input.rollouts_paths,
        gradient_paths=rules.direction.input.gradient_paths,
        direction_paths=files_of("direction.safetensors", plan.is_searched),
        scale_paths=files_of("scale.csv", plan.is_searched),
        trajectory_paths=files_of("trajectory.safetensors", plan.keeps_path),
        twin_paths=files_of("trajectory.safetensors", plan.keeps_path, twin=True),
    output:
        cosines=RUN + "/cosines.csv",
        linearity=RUN + "/linearity.csv",
    log:
        RUN + "/notebooks/04_trajectory.ipynb",
    params:
        code=code("04_trajectory"),
        settings=settings("04_trajectory"),


use rule notebook as turning with:
    input:
        ancient("notebooks/04_turning.ipynb"),
        policy_path=POLICY + "/model.safetensors",
        train_path=PROBLEMS + "/train.jsonl",
        validation_path=PROBLEMS + "/validation.jsonl",
        rollouts_paths=rules.direction.input.rollouts_paths,
        trajectory_paths=rules.trajectory.input.trajectory_paths,
    output:
        turning=RUN + "/turning.csv",
        extrapolation=RUN + "/extrapolation.csv",
    log:
        RUN + "/notebooks/04_turning.ipynb",
    params:
        code=code("04_turning"),
        settings=settings("04_turning"),


use rule baseline as tuning with:
    input:
        ancient("notebooks/05_tuning.ipynb"),
        policy_path=POLICY.replace("{policy}", str(config["tuning"]["policy"]))
        + "/model.safetensors",
        train_path=PROBLEMS.replace("{policy}", str(config["tuning"]["policy"]))
        + "/train.jsonl",
        validation_path=PROBLEMS.replace("{policy}", str(config["tuning"]["policy"]))
        + "/validation.jsonl",
        acceptance_path=BASE.replace("{policy}", str(config["tuning"]["policy"]))
        + "/acceptance.csv",
        rollouts_paths=shards_used(
            rules.sample.output.rollouts, policy=config["tuning"]["policy"], run=0
        ),
    output:
        tuning=TUNING + "/{arm}/tuning.csv",
    log:
        TUNING + "/{arm}/05_tuning.ipynb",
    wildcard_constraints:
        arm=one_of(plan.trained),
    params:
        code=code("05_tuning"),
        settings=settings("05_tuning"),


use rule notebook as draw with:
    input:
        ancient("notebooks/09_figures.ipynb"),
        table_folders=lambda wildcards: read_by([wildcards.figure], wildcards.scope),
    output:
        pdf=FIGURES + "/{scope}{figure}.pdf",
        png=report(
            FIGURES + "/{scope}{figure}.png", category="Figures", labels=described
        ),
        data=FIGURES + "/{scope}{figure}.csv",
    log:
        FIGURES + "/notebooks/{scope}09_{figure}.ipynb",
    wildcard_constraints:
        figure=one_of(figures.of_kind("figure")),
    resources:
        gpu=0,
    params:
        code=code("09_figures"),
        settings=settings("09_figures"),


use rule draw as tabulate with:
    output:
        markdown=FIGURES + "/{scope}{figure}.md",
        data=report(
            FIGURES + "/{scope}{figure}.csv", category="Tables", labels=described
        ),
    wildcard_constraints:
        figure=one_of(figures.of_kind("table")),


use rule notebook as summary with:
    input:
        ancient("notebooks/10_summary.ipynb"),
        table_folders=read_by(["summary"]),
    output:
        summary=RESULTS + "/summary.csv",
        provenance=RESULTS + "/provenance.json",
    log:
        RESULTS + "/10_summary.ipynb",
    resources:
        gpu=0,
    params:
        code=code("10_summary"),
        settings=settings("10_summary"),


rule gallery:
    input:
        expand(FIGURES + "/main_job/{figure}.png", figure=figures.of_kind("figure")),
    output:
        expand("paper/gallery/{figure}.png", figure=figures.of_kind("figure")),
    run:
        for source, target in zip(input, output):
            catalogue.shrink(source, target)


onstart:
    if workflow.is_main_process:
        lock.take(RESULTS)


onsuccess:
    lock.give_back()


onerror:
    lock.give_back()
    print(
        "Stopped. What had finished is kept: the same command takes the run up again.\n"
        "The traceback stands above, and in the last cell of the notebook that is named as the job's log."
    )
