rule pages:
    # Execute the pages of the book on the measured table, with one kernel per batch; pages that are up to date are kept.
    # A page that writes to stderr fails, so that the next run executes it again.
    input:
        notebooks=lambda wildcards: [f"notebooks/{page}.ipynb" for page in BATCHES[wildcards.batch]],
        table=SHOWN,
        shared=sorted(str(path) for path in [*Path("src").rglob("*.py"), *Path("data/published").glob("*"),
                                             *Path("data/calibration").glob("*"), *Path("data/cells").glob("*"), *Path("benchmarks/results").glob("*.json"),
                                             *Path("data/curves").glob("*.csv"), Path("data/gpu/measurements.csv"),
                                             *Path("data/factorial").glob("*"), *Path("data/pairs").glob("*")])
        + published_at_hand(),
    output:
        touch(f"{RUN}/pages/.executed_{{batch}}"),
    log:
        f"{RUN}/logs/pages/{{batch}}.txt",
    params:
        pages=lambda wildcards: BATCHES[wildcards.batch],
    retries: 0
    message:
        "Execute the pages, batch {wildcards.batch}"
    shell:
        "python workflow/scripts/pages.py {RUN} {input.table} --pages {params.pages} --shared {input.shared} >{log} 2>&1"


rule html:
    # The file .built lies in the book's folder, which is replaced only by a book that was built completely.
    input:
        pages=EXECUTED,
        sources=["_config.yml", "_toc.yml", "data/README.md"]
        + sorted(str(path) for path in [*Path("book").rglob("*.*"), *Path("benchmarks/results").glob("*")]),
    output:
        touch(f"{RUN}/book/_build/html/.built"),
    log:
        f"{RUN}/logs/book.txt",
    retries: 0
    message:
        "Build the book"
    shell:
        "python workflow/scripts/book.py {RUN}/pages {RUN}/book >{log} 2>&1"
