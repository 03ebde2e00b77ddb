# The whole experiment as one DAG. `snakemake --cores all figures` regenerates every figure and table.
#
#   00 policy ──────┬─ 01 sample (shards) ── 02 gradient (shards) ── 03 line search ─┬─ 09 figures
#                   └─ 05 baselines (GRPO) ──────────────────────────────────────────┤
#   00 tuning policy ── 05 tuning ───────────────────────────────────────────────────┴─ 10 summary
#
# Each rule runs one notebook through papermill and passes it its own section of the config. The executed copy
# is the rule's log, so it survives a failure with the traceback in it. Editing prose or outputs of a notebook
# re-runs nothing: what counts is the digest of the code it runs.
import yaml

from oneshot import experiment, provenance

if "experiment" not in config:

    configfile: "config/laptop.yaml"


experiment.check(
    config, yaml.safe_load(open(workflow.source_path("config/schema.yaml")))
)
experiment.check_host(config)

NAME, TASK = config["experiment"], config["task"]
ENGINE = experiment.engine(config)
RESULTS, FIGURES = f"results/{NAME}", f"figures/{NAME}"
BASE = RESULTS + "/{size}/policy{policy}/base"
RUN = RESULTS + "/{size}/policy{policy}/" + TASK + "/run{run}"
SHARDS = range(config["one_shot"]["shards"])
PRETRAINED = [
    size for size, entry in config["sizes"].items() if experiment.is_pretrained(entry)
]
SPLITS = [split for split in config["splits"] if split != "pretraining"]
RUNS = [(policy, run) for policy, runs in config["runs"].items() for run in runs]
TUNED = BASE.format(size=config["main_size"], policy=config["tuning"]["policy"])
FAMILY = [(config["main_size"], policy) for policy in config["runs"]] + [
    (size, list(config["runs"])[0])
    for size in config["sizes"]
    if size != config["main_size"]
]


def code(notebook):
    return provenance.code_digest(f"notebooks/{notebook}.ipynb", "src/oneshot")


def arguments(notebook, **parameters):
    """Parameters of a notebook, all of which it must have, as one line of YAML (in which 1.0e-5 stays a number)."""
    provenance.check_parameters(f"notebooks/{notebook}.ipynb", set(parameters))
    return yaml.safe_dump(
        parameters, default_flow_style=True, sort_keys=False, width=float("inf")
    ).strip()


def one_of(names):
    """A wildcard's constraint; with no names, one that nothing meets."""
    return "|".join(names) or "(?!)"


def of_runs(path, runs=RUNS):
    """A path of a run at the main size, for each of these (policy, run) pairs."""
    return [
        f"{RUN}/{path}".format(size=config["main_size"], policy=policy, run=run)
        for policy, run in runs
    ]


def drawn_from(figure, runs=RUNS):
    """The tables a figure (or the summary's paired differences) is drawn from, by name."""
    tables = {
        "central": [
            "landscape",
            "test",
            "search",
            "grpo/path",
            "grpo/steps",
            "timings/grpo",
            "timings/line_search",
        ],
        "landscape": ["landscape", "test", "search", "slope"],
        "entropy": ["landscape", "grpo/path"],
        "by_problem": ["test_by_problem", "grpo/test_by_problem"],
    }
    paths = {table: of_runs(f"{table}.csv", runs) for table in tables[figure]}
    if figure == "central":
        for stage in ("sample", "gradient"):
            paths[f"timings/{stage}"] = [
                p
                for shard in SHARDS
                for p in of_runs(f"timings/{stage}{shard}.csv", runs)
            ]
    return paths


wildcard_constraints:
    size="[a-z0-9]+",
    policy=r"\d+",
    run=r"\d+",
    shard=r"\d+",


localrules:
    figures,
    main,
    family,


rule figures:
    input:
        expand(
            FIGURES + "/{figure}.{kind}",
            figure=["central", "landscape", "entropy"],
            kind=["pdf", "png"],
        ),
        FIGURES + "/central_table.md",
        RESULTS + "/summary.csv",


rule main:
    input:
        FIGURES + "/main_job/central.pdf",


rule family:
    input:
        [
            BASE.format(size=size, policy=policy) + "/acceptance.csv"
            for size, policy in FAMILY
        ],


rule notebook:
    conda:
        "environment.yml"
    threads: 1
    resources:
        gpu=experiment.num_gpus(config),
    params:
        code="",
        parameters="",
    shell:
        "OMP_NUM_THREADS={threads} SOURCE_DATE_EPOCH=0 ONESHOT_GPUS={resources.gpu} "
        "papermill {input[0]} {log[0]} --engine ipc --kernel python3 --cwd . --no-progress-bar -y {params.parameters:q}"


use rule notebook as base_policy with:
    input:
        ancient("notebooks/00_base_policy.ipynb"),
    output:
        BASE + "/policy/model.safetensors",
        BASE + "/acceptance.csv",
        expand(BASE + "/problems/{split}.jsonl", split=SPLITS, allow_missing=True),
    log:
        BASE + "/00_base_policy.ipynb",
    wildcard_constraints:
        size=one_of(size for size in config["sizes"] if size not in PRETRAINED),
    resources:
        gpu=0,
    params:
        code=code("00_base_policy"),
        parameters=lambda wildcards: arguments(
            "00_base_policy",
            tasks=config["tasks"],
            splits=config["splits"],
            pretraining=config.get("pretraining"),
            size=config["sizes"][wildcards.size],
            acceptance=(
                config["acceptance"] if wildcards.size == config["main_size"] else {}
            ),
            max_new_tokens=config["sampling"]["max_new_tokens"],
            policy_seed=int(wildcards.policy),
            out=BASE.format(**wildcards),
        ),


use rule notebook as pretrained_policy with:
    input:
        ancient("notebooks/00_pretrained_policy.ipynb"),
    output:
        rules.base_policy.output,
    log:
        BASE + "/00_pretrained_policy.ipynb",
    wildcard_constraints:
        size=one_of(PRETRAINED),
    params:
        code=code("00_pretrained_policy"),
        parameters=lambda wildcards: arguments(
            "00_pretrained_policy",
            model=config["sizes"][wildcards.size],
            tasks=config["tasks"],
            splits=config["splits"],
            acceptance=(
                config["acceptance"] if wildcards.size == config["main_size"] else {}
            ),
            sampling={**config["sampling"], "engine": ENGINE},
            policy_seed=int(wildcards.policy),
            out=BASE.format(**wildcards),
        ),


use rule notebook as sample with:
    input:
        ancient("notebooks/01_sample.ipynb"),
        BASE + "/policy/model.safetensors",
        BASE + "/problems/train.jsonl",
    output:
        RUN + "/rollouts/shard{shard}.parquet",
        RUN + "/timings/sample{shard}.csv",
    log:
        RUN + "/notebooks/01_sample{shard}.ipynb",
    params:
        code=code("01_sample"),
        parameters=lambda wildcards: arguments(
            "01_sample",
            base=f"{BASE}/policy".format(**wildcards),
            problems=f"{BASE}/problems/train.jsonl".format(**wildcards),
            num_prompts=config["one_shot"]["prompts"],
            shard=int(wildcards.shard),
            num_shards=len(SHARDS),
            sampling={**config["sampling"], "engine": ENGINE},
            run=RUN.format(**wildcards),
            out=RUN.format(**wildcards),
        ),


use rule notebook as gradient with:
    input:
        ancient("notebooks/02_gradient.ipynb"),
        BASE + "/policy/model.safetensors",
        RUN + "/rollouts/shard{shard}.parquet",
    output:
        RUN + "/gradient/shard{shard}.safetensors",
        RUN + "/reward_gradient/shard{shard}.safetensors",
        RUN + "/right_gradient/shard{shard}.safetensors",
        RUN + "/wrong_gradient/shard{shard}.safetensors",
        RUN + "/timings/gradient{shard}.csv",
    log:
        RUN + "/notebooks/02_gradient{shard}.ipynb",
    params:
        code=code("02_gradient"),
        parameters=lambda wildcards, input: arguments(
            "02_gradient",
            base=f"{BASE}/policy".format(**wildcards),
            rollouts=input[2],
            rewards=config["rewards"],
            shard=int(wildcards.shard),
            blocks_per_shard=config["one_shot"]["blocks"] // len(SHARDS),
            sign_share=config["one_shot"]["sign_share"],
            max_gap_nats=config["one_shot"]["max_gap_nats"],
            out=RUN.format(**wildcards),
        ),


use rule notebook as line_search with:
    input:
        ancient("notebooks/03_line_search.ipynb"),
        BASE + "/policy/model.safetensors",
        expand(
            BASE + "/problems/{split}.jsonl",
            split=["validation", "test", "retention"],
            allow_missing=True,
        ),
        rollouts=expand(
            RUN + "/rollouts/shard{shard}.parquet", shard=SHARDS, allow_missing=True
        ),
        gradients=expand(
            RUN + "/gradient/shard{shard}.safetensors",
            shard=SHARDS,
            allow_missing=True,
        ),
        slopes=expand(
            RUN + "/reward_gradient/shard{shard}.safetensors",
            shard=SHARDS,
            allow_missing=True,
        ),
    output:
        [
            RUN + f"/{table}.csv"
            for table in ("landscape", "search", "slope", "test", "test_by_problem")
        ],
        RUN + "/timings/line_search.csv",
    log:
        RUN + "/notebooks/03_line_search.ipynb",
    params:
        code=code("03_line_search"),
        parameters=lambda wildcards, input: arguments(
            "03_line_search",
            base=f"{BASE}/policy".format(**wildcards),
            problems=f"{BASE}/problems".format(**wildcards),
            rollouts=list(input.rollouts),
            gradients=list(input.gradients),
            reward_gradients=list(input.slopes),
            search={
                **config["line_search"],
                "samples": config["num_samples"],
                "rewards": config["rewards"],
                "microbatch": experiment.grpo_batch(config),
                "engine": ENGINE,
            },
            run=RUN.format(**wildcards),
            out=RUN.format(**wildcards),
        ),


use rule notebook as grpo with:
    input:
        ancient("notebooks/05_baselines.ipynb"),
        BASE + "/policy/model.safetensors",
        expand(BASE + "/problems/{split}.jsonl", split=SPLITS, allow_missing=True),
    output:
        RUN + "/grpo/path.csv",
        RUN + "/grpo/steps.csv",
        RUN + "/grpo/test_by_problem.csv",
        RUN + "/timings/grpo.csv",
    log:
        RUN + "/notebooks/05_baselines_grpo.ipynb",
    params:
        code=code("05_baselines"),
        parameters=lambda wildcards: arguments(
            "05_baselines",
            base=f"{BASE}/policy".format(**wildcards),
            problems=f"{BASE}/problems".format(**wildcards),
            settings={
                "learning_rate": config["grpo"]["learning_rate"],
                "prompts_per_step": config["grpo"]["prompts_per_step"],
                "max_gap_nats": config["one_shot"]["max_gap_nats"],
                "rewards": config["rewards"],
                **config["sampling"],
                "engine": ENGINE,
            },
            num_steps=experiment.grpo_steps(config),
            checkpoints=experiment.grpo_checkpoints(config),
            num_samples=config["num_samples"],
            run=RUN.format(**wildcards),
            out=f"{RUN}/grpo".format(**wildcards),
        ),


use rule notebook as tuning with:
    input:
        ancient("notebooks/05_tuning.ipynb"),
        TUNED + "/policy/model.safetensors",
        expand(TUNED + "/problems/{split}.jsonl", split=["train", "validation"]),
    output:
        RESULTS + "/tuning/grpo.csv",
    log:
        RESULTS + "/tuning/05_tuning_grpo.ipynb",
    params:
        code=code("05_tuning"),
        parameters=arguments(
            "05_tuning",
            base=f"{TUNED}/policy",
            problems=f"{TUNED}/problems",
            settings={
                "prompts_per_step": config["grpo"]["prompts_per_step"],
                "rewards": config["rewards"],
                **config["sampling"],
                "engine": ENGINE,
            },
            learning_rates=config["tuning"]["learning_rates"],
            max_extensions=config["tuning"]["max_extensions"],
            num_steps=config["grpo"]["steps"],
            num_samples=config["num_samples"],
            out=f"{RESULTS}/tuning",
        ),


use rule notebook as draw with:
    input:
        ancient("notebooks/09_figures.ipynb"),
        unpack(lambda wildcards: drawn_from(wildcards.figure)),
    output:
        multiext(FIGURES + "/{figure}", ".pdf", ".png", ".csv"),
    log:
        FIGURES + "/notebooks/09_{figure}.ipynb",
    resources:
        gpu=0,
    params:
        code=code("09_figures"),
        parameters=lambda wildcards: arguments(
            "09_figures",
            figure=wildcards.figure,
            tables=drawn_from(wildcards.figure),
            out=FIGURES,
        ),


use rule draw as draw_main_job with:
    input:
        ancient("notebooks/09_figures.ipynb"),
        unpack(lambda wildcards: drawn_from(wildcards.figure, RUNS[:1])),
    output:
        multiext(FIGURES + "/main_job/{figure}", ".pdf", ".png", ".csv"),
    log:
        FIGURES + "/main_job/notebooks/09_{figure}.ipynb",
    params:
        code=code("09_figures"),
        parameters=lambda wildcards: arguments(
            "09_figures",
            figure=wildcards.figure,
            tables=drawn_from(wildcards.figure, RUNS[:1]),
            out=f"{FIGURES}/main_job",
        ),


use rule notebook as summary with:
    input:
        ancient("notebooks/10_summary.ipynb"),
        unpack(lambda wildcards: drawn_from("central")),
        unpack(lambda wildcards: drawn_from("landscape")),
        unpack(lambda wildcards: drawn_from("by_problem")),
        RESULTS + "/tuning/grpo.csv",
        acceptance=rules.family.input,
    output:
        RESULTS + "/summary.csv",
        RESULTS + "/provenance.json",
        multiext(FIGURES + "/central_table", ".csv", ".md"),
    log:
        RESULTS + "/10_summary.ipynb",
    resources:
        gpu=0,
    params:
        code=code("10_summary"),
        parameters=lambda wildcards, input: arguments(
            "10_summary",
            tables=drawn_from("central")
            | drawn_from("landscape")
            | drawn_from("by_problem"),
            acceptance=list(input.acceptance),
            tuning=f"{RESULTS}/tuning/grpo.csv",
            config=config,
            summary=f"{RESULTS}/summary.csv",
            out=FIGURES,
        ),
