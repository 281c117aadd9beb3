rule page:
    # One page of the book: its notebook, executed on what was measured.
    input:
        notebook="notebooks/{page}.ipynb",
        table=SHOWN,
        package=sorted(str(path) for path in Path("src").rglob("*.py")),
    output:
        notebook=f"{RUN}/pages/{{page}}.ipynb",
    params:
        parameters=page_parameters,
    message:
        "Execute notebooks/{wildcards.page}.ipynb"
    shell:
        "python workflow/scripts/warm_kernel.py papermill"
        " --no-progress-bar --log-level WARNING {input.notebook} {output.notebook} {params.parameters}"
        " {QUIET}"


rule stage:
    # A copy of the book's sources with the executed pages in place of the bare notebooks.
    input:
        pages=expand(f"{RUN}/pages/{{page}}.ipynb", page=PAGES),
        sources=["_config.yml", "_toc.yml", "data/README.md"]
        + sorted(str(path) for path in [*Path("book").rglob("*.*"), *Path("benchmarks/results").glob("*")]),
    output:
        directory(f"{RUN}/site"),
    message:
        "Stage the book"
    shell:
        "python workflow/scripts/stage.py {RUN}/pages {output}"


rule html:
    # Warnings are errors; --keep-going shows them all.
    input:
        f"{RUN}/site",
    output:
        f"{RUN}/book/_build/html/index.html",
    message:
        "Build the book"
    shell:
        "jupyter-book build {input} --path-output {RUN}/book -W -n --keep-going --quiet"
