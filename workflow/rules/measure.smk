rule measure:
    # One data set at one depth and seed: a papermill run whose executed notebook is the log. Units finished before
    # an interruption are looked up in units/, so a second run measures only what is missing.
    input:
        notebook="notebooks/measure.ipynb",
    output:
        table=f"{RUN}/slices/{{dataset}}_q{{fraction}}_seed{{seed}}.csv",
    log:
        notebook=f"{RUN}/logs/{{dataset}}_q{{fraction}}_seed{{seed}}.ipynb",
    params:
        parameters=measure_parameters,
    threads: 1
    resources:
        mem_mb=3000,
    message:
        "Measure {wildcards.dataset} at fraction {wildcards.fraction}, seed {wildcards.seed}"
    shell:
        "papermill --no-progress-bar --log-level WARNING {input.notebook} {log.notebook}"
        " -y {params.parameters:q} -p output {output.table} {QUIET}"


rule gather:
    input:
        JOBS,
    output:
        TABLE,
        TABLE.replace(".csv", ".json"),
    params:
        command=f"python workflow/run.py {config_file()}",
    message:
        "Gather {TABLE}"
    shell:
        "noise-scaling gather {input} --output {output[0]} --command {params.command:q}"


rule show:
    input:
        TABLE,
        BESIDE,
    output:
        SHOWN,
    message:
        "Put {input} together for the pages"
    shell:
        "noise-scaling gather {input} --output {output}"
