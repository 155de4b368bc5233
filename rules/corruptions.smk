# The "-C" versions of datasets: pictures and sounds, corrupted at one severity.

SHARD = "-{shard}" if CONFIG.corruption.shards > 1 else ""
PUBLISHED = UCF101C if CONFIG.corruption.published else ()


ruleorder: take_published > synthesize_corruption > gather_shards


rule take_published:  # corrupted files that others published, in the place of our own
    input:
        AT.published_files,
        clips="<data>/{dataset}/clips.parquet",
    output:
        clips="<data>/{dataset}-c/{corruption}/{severity}/clips.parquet",
    log:
        "<logs>/take_published/{dataset}/{corruption}-{severity}.log",
    benchmark:
        "<benchmarks>/take_published/{dataset}/{corruption}-{severity}.tsv"
    wildcard_constraints:
        dataset="|".join(CONFIG.corruption.published) or "(?!)",
        corruption="|".join(PUBLISHED) or "(?!)",
        severity="5",
    conda:
        "../envs/media.yaml"
    threads: CONFIG.runtime.workers
    resources:
        mem_mb=growing(4_000),
        runtime=growing(60),
    params:
        splits=AT.splits_to_corrupt,
        published=AT.published_set,
        code=AT.published_code,
    script:
        "../workflow_scripts/take_published.py"


rule synthesize_corruption:  # one corruption at one severity, for all splits that any experiment needs
    input:
        clips="<data>/{dataset}/clips.parquet",
        beds=AT.beds,
    output:
        clips=f"<data>/{{dataset}}-c/{{corruption}}/{{severity}}/clips{SHARD}.parquet",
    log:
        f"<logs>/synthesize_corruption/{{dataset}}/{{corruption}}-{{severity}}{SHARD}.log",
    benchmark:
        f"<benchmarks>/synthesize_corruption/{{dataset}}/{{corruption}}-{{severity}}{SHARD}.tsv"
    conda:
        "../envs/media.yaml"
    threads: CONFIG.runtime.workers
    resources:
        mem_mb=growing(8_000),
        runtime=growing(480),
    params:
        splits=AT.splits_to_corrupt,
        shards=CONFIG.corruption.shards,
        task=AT.corruption_task,
        code=AT.code("synthesis:corrupt_clip", "corruptions.{corruption}"),
    script:
        "../workflow_scripts/synthesize_corruption.py"


rule gather_shards:  # where several jobs share a corrupted set
    input:
        clips="<data>/{dataset}/clips.parquet",
        shards=AT.shards,
    output:
        clips="<data>/{dataset}-c/{corruption}/{severity}/clips.parquet",
    log:
        "<logs>/gather_shards/{dataset}/{corruption}-{severity}.log",
    conda:
        "../envs/media.yaml"
    params:
        code=AT.code("synthesis:gather"),
    script:
        "../workflow_scripts/gather_shards.py"


rule draw_contact_sheets:  # what each corruption does to one clip: severities across, time down
    input:
        clips=AT.datasets("{data}/{dataset}/clips.parquet"),
    output:
        sheets=directory("<results>/contact_sheets/{experiment}"),
    log:
        "<logs>/draw_contact_sheets/{experiment}.log",
    conda:
        "../envs/media.yaml"
    params:
        tasks=AT.sheet_tasks,
        split=AT.field("split"),
        code=AT.code("contact_sheets:draw"),
        kernels=AT.kernel_codes,
    script:
        "../workflow_scripts/draw_contact_sheets.py"
