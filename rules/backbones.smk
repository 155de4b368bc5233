# Source models: from published checkpoints or trained here, and their statistics.


rule fetch_checkpoint:  # a local file, a URL, a file of the hub or of torchvision; what is wrong with it stops here
    input:
        AT.checkpoint_files,
    output:
        manifest="<data>/checkpoints/{checkpoint}.json",
    log:
        "<logs>/fetch_checkpoint/{checkpoint}.log",
    conda:
        "../envs/torch.yaml"
    params:
        checkpoint=AT.checkpoint,
        folder=AT.checkpoint_folder,
        code=AT.code("importing:fetch"),
    script:
        "../workflow_scripts/fetch_checkpoint.py"


rule import_weights:  # a checkpoint's classes become the dataset's; `weights: random` has no checkpoint
    input:
        manifest=AT.manifest,
        space=AT.label_space_file,
        classes="<data>/{dataset}/classes.parquet",
    output:
        weights="<data>/weights/{backbone}/{dataset}/imported.safetensors",
    log:
        "<logs>/import_weights/{dataset}/{backbone}.log",
    benchmark:
        "<benchmarks>/import_weights/{dataset}/{backbone}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(16_000),
        runtime=growing(60),
    params:
        backbone=AT.backbone,
        space=AT.label_space,
        seed=CONFIG.seed,
        spaces=AT.package_files("classes/*.csv"),
        code=AT.code("importing:import_weights", "backbones.{backbone}"),
    script:
        "../workflow_scripts/import_weights.py"


rule train_source:  # on the clean training split; a killed job goes on from its last epoch
    input:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        manifest=AT.manifest,
    output:
        weights="<data>/weights/{backbone}/{dataset}/trained.safetensors",
        training="<results>/training/{backbone}/{dataset}.parquet",
    log:
        "<logs>/train_source/{dataset}/{backbone}.log",
    benchmark:
        "<benchmarks>/train_source/{dataset}/{backbone}.tsv"
    priority: 10  # everything waits for it
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        gpu=1,
        mem_mb=growing(16_000),
        runtime=growing(480),
    params:
        backbone=AT.backbone,
        fit=AT.fit,
        hyper=AT.backbone_training,
        root=AT.dataset_root,
        seed=CONFIG.seed,
        runtime=AT.runtime,
        code=AT.code("training:train", "backbones.{backbone}"),
    script:
        "../workflow_scripts/train_source.py"


rule compute_statistics:
    input:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        weights=AT.source_weights,
    output:
        statistics="<results>/source_statistics/{dataset}/{backbone}.safetensors",
    log:
        "<logs>/compute_statistics/{dataset}/{backbone}.log",
    benchmark:
        "<benchmarks>/compute_statistics/{dataset}/{backbone}.tsv"
    priority: 10
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        gpu=1,
        mem_mb=growing(16_000),
        runtime=growing(120),
    params:
        backbone=AT.backbone,
        root=AT.dataset_root,
        sampling=AT.statistics_sampling,
        batch=32,
        runtime=AT.runtime,
        code=AT.code("statistics:compute", "backbones.{backbone}"),
    script:
        "../workflow_scripts/compute_statistics.py"


rule compute_importance:  # only for methods that hold important parameters back
    input:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        weights=AT.source_weights,
    output:
        importance="<results>/importance/{dataset}/{backbone}.safetensors",
    log:
        "<logs>/compute_importance/{dataset}/{backbone}.log",
    benchmark:
        "<benchmarks>/compute_importance/{dataset}/{backbone}.tsv"
    priority: 10
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        gpu=1,
        mem_mb=growing(16_000),
        runtime=growing(120),
    params:
        backbone=AT.backbone,
        root=AT.dataset_root,
        sampling=AT.statistics_sampling,
        clips=2000,
        batch=8,
        seed=CONFIG.seed,
        runtime=AT.runtime,
        code=AT.code("importance:compute", "backbones.{backbone}"),
    script:
        "../workflow_scripts/compute_importance.py"


rule import_statistics:  # ViTTA's published lists
    input:
        unpack(AT.published_statistics),
        classes="<data>/{dataset}/classes.parquet",
    output:
        statistics="<results>/source_statistics/{dataset}/{backbone}.published.safetensors",
    log:
        "<logs>/import_statistics/{dataset}/{backbone}.log",
    conda:
        "../envs/torch.yaml"
    params:
        backbone=AT.backbone,
        code=AT.code("statistics:import_published", "backbones.{backbone}"),
    script:
        "../workflow_scripts/import_statistics.py"
