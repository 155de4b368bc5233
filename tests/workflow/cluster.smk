# The workflow, and beside it jobs that fail, wait, and tell which GPU they were given. Tests copy it beside the Snakefile.
include: "Snakefile"


rule fail_once:
    output:
        "<results>/cluster/{kind}.fails_once",
    resources:
        mem_mb=growing(1_000),
        runtime=growing(5),
    params:
        runs="results/cluster/{kind}.runs",
    shell:
        "echo began >> {params.runs}; test $(wc -l < {params.runs}) -gt 1; touch {output}"


rule fail_always:
    output:
        "<results>/cluster/{kind}.fails_always",
    params:
        runs="results/cluster/{kind}.runs",
    shell:
        "echo began >> {params.runs}; echo this is why >&2; exit 1"


rule wait_at_first:  # for the test to end it, one way or another
    output:
        "<results>/cluster/{kind}.waits",
    params:
        runs="results/cluster/{kind}.runs",
    shell:
        "echo began >> {params.runs}; test $(wc -l < {params.runs}) -gt 1 || sleep 600; touch {output}"


rule show_gpu:
    output:
        "<results>/cluster/{number}.gpu",
    resources:
        gpu=1,
    shell:
        "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES > {output}; sleep 3"


rule take_long:  # more than the minute that it asks for at first
    output:
        "<results>/cluster/{kind}.takes_long",
    resources:
        runtime=growing(1),
    shell:
        "sleep 90; touch {output}"
