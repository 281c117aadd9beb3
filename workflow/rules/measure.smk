# A job is one data set and seed on one class of device, with all its depths or one (`jobs: depth`): a papermill run
# whose executed notebook is the log. Units finished before an interruption are looked up in units/, so a second run
# measures only what is missing. Four rules of one body, so that a cluster can give each class its own queue: the CPU's
# and the GPU's models, and the same for the largest numbers of cells (`large_cells`), a job for each training.
# How often a job that was killed is tried again is said in one place, the profile. One that was refused (an InputError)
# would be refused again: its rows say so, and the rest goes on.
LIMITS = config.get("limits", {})


def measure_parameters(wildcards):
    """The papermill parameters of one job, as JSON (which is YAML).

    Of the wildcards alone: a function of the output too would not be recorded, and a changed grid would go unseen.
    """
    job = JOBS[wildcards.job]
    how = ("keep_embeddings", "unit_seconds", "workers") if job.device != "cpu" else ("keep_embeddings", "unit_seconds")
    kept = {key: config[key] for key in how if key in config}
    return json.dumps(job.parameters() | kept | {"results": f"{RUN}/units"})


def trained_before(wildcards):
    """The table of the job that trains the same models for another signal, whose embeddings this one reads."""
    first = TRAINS[JOBS[wildcards.job].trains_as()]
    wanted = config.get("keep_embeddings") and first != wildcards.job
    return f"{RUN}/slices/{first}.csv" if wanted else []


rule measure:
    input:
        # only its order counts: the units kept are looked up one by one
        trained=ancient(trained_before),
        # its prose and its display may be edited: only what is measured counts, and that is in the parameters. It is here
        # where tables lie in object storage too.
        notebook=local(ancient("notebooks/measure.ipynb")),
    output:
        table=f"{RUN}/slices/{{job}}.csv",
    log:
        said=f"{RUN}/logs/{{job}}.txt",
        notebook=f"{RUN}/logs/{{job}}.ipynb",
    wildcard_constraints:
        job=".+_cpu",
    params:
        parameters=measure_parameters,
        versions=lambda wildcards: json.dumps(JOBS[wildcards.job].versions()),
    threads: lambda wildcards: JOBS[wildcards.job].devices  # a process each, on the processor or beside a card
    priority: lambda wildcards: JOBS[wildcards.job].priority
    resources:
        mem_mb=lambda wildcards, attempt: cost.request(JOBS[wildcards.job], LIMITS, attempt)["mem_mb"],
        runtime=lambda wildcards, attempt: cost.request(JOBS[wildcards.job], LIMITS, attempt)["runtime"],
    message:
        "Measure {wildcards.job}"
    shell:
        # an earlier run's table goes: beside it, Snakemake would not miss the part of a job that fails
        "rm -f {TABLE} {log.notebook}; papermill"
        " --no-progress-bar --log-level WARNING {input.notebook} {log.notebook}"
        " -y {params.parameters:q} -p output {output.table} >{log.said} 2>&1"
        " || python -m noise_scaling.measure.refused {log.notebook} {output.table} >>{log.said} 2>&1"


use rule measure as measure_large with:
    wildcard_constraints:
        job=".+_cpu_large",


use rule measure as measure_gpu with:
    wildcard_constraints:
        job=".+_gpu",
    threads: config.get("workers", 1)
    resources:
        mem_mb=lambda wildcards, attempt: cost.request(JOBS[wildcards.job], LIMITS, attempt)["mem_mb"],
        runtime=lambda wildcards, attempt: cost.request(JOBS[wildcards.job], LIMITS, attempt)["runtime"],
        gpu=lambda wildcards: JOBS[wildcards.job].devices,


use rule measure_gpu as measure_gpu_large with:
    wildcard_constraints:
        job=".+_gpu_large",


rule gather:
    input:
        expand(f"{RUN}/slices/{{job}}.csv", job=JOBS),
    output:
        TABLE,
        TABLE.replace(".csv", ".json"),
    log:
        f"{RUN}/logs/gather.txt",
    params:
        command=f"python workflow/run.py {config_file()}",
        rows=len({tuple(key.values()) for job in JOBS.values() for key in job.row_keys()}),
    message:
        "Gather the rows in {TABLE}"
    shell:
        "noise-scaling gather {input} --rows {params.rows} --output {output[0]} --command {params.command:q} >{log} 2>&1"


rule show:
    input:
        TABLE,
        BESIDE,
    output:
        SHOWN,
    log:
        f"{RUN}/logs/show.txt",
    message:
        "Put {input} together for the pages"
    shell:
        # what this machine measured stands before the committed rows of another, which differ in their last digits
        "noise-scaling gather {input} --first-wins --output {output} >{log} 2>&1"
