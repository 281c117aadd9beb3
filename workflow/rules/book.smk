rule page:
    # One page of the book: its notebook, executed on what was measured. What it writes to stderr fails it here, so that
    # no page is left that the next run would take for good.
    input:
        notebook="notebooks/{page}.ipynb",
        table=SHOWN,
        data=files_at_hand,
        package=sorted(str(path) for path in [*Path("src").rglob("*.py"), *Path("data/published").glob("*")]),
    output:
        notebook=f"{RUN}/pages/{{page}}.ipynb",
    log:
        stderr=f"{RUN}/logs/pages/{{page}}.txt",
        papermill=f"{RUN}/logs/pages/{{page}}.papermill.txt",
    params:
        parameters=page_parameters,
    message:
        "Execute notebooks/{wildcards.page}.ipynb"
    shell:
        "papermill --no-progress-bar --log-level WARNING"
        " --stderr-file {log.stderr} {input.notebook} {output.notebook} {params.parameters} >{log.papermill} 2>&1"
        " && test ! -s {log.stderr}"


rule html:
    # The file that says the book is there goes with the book, which is replaced only by one that was built whole.
    input:
        pages=expand(f"{RUN}/pages/{{page}}.ipynb", page=PAGES),
        sources=["_config.yml", "_toc.yml", "data/README.md"]
        + sorted(str(path) for path in [*Path("book").rglob("*.*"), *Path("benchmarks/results").glob("*")]),
    output:
        touch(f"{RUN}/book/_build/html/.built"),
    log:
        f"{RUN}/logs/book.txt",
    message:
        "Build the book"
    shell:
        "python workflow/scripts/book.py {RUN}/pages {RUN}/book >{log} 2>&1"
