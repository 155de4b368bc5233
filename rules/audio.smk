# What is heard: sound tracks, audio-event scores, and the map from their names to video classes.


rule extract_audio:
    input:
        clips="<data>/{dataset}/clips.parquet",
    output:
        audio="<data>/{dataset}/audio/{audio_model}/audio.parquet",
    log:
        "<logs>/extract_audio/{dataset}/{audio_model}.log",
    benchmark:
        "<benchmarks>/extract_audio/{dataset}/{audio_model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.workers
    resources:
        mem_mb=4_000,
        runtime=120,
    params:
        plugin=AT.audio_plugin,
        root=AT.dataset_root,
        splits=AT.splits_to_hear,
        code=AT.code("audio:extract", "audio_models.{audio_model}:SPEC"),
    script:
        "../workflow_scripts/extract_audio.py"


use rule extract_audio as extract_corrupted_audio with:
    input:
        clips="<data>/{dataset}-c/{corruption}/{severity}/clips.parquet",
    output:
        audio="<data>/{dataset}-c/{corruption}/{severity}/audio/{audio_model}/audio.parquet",
    log:
        "<logs>/extract_audio/{dataset}-c/{corruption}/{severity}/{audio_model}.log",
    benchmark:
        "<benchmarks>/extract_audio/{dataset}-c/{corruption}/{severity}/{audio_model}.tsv"
    params:
        plugin=AT.audio_plugin,
        root=AT.folder_of_corrupted,
        splits=AT.splits_to_corrupt,
        code=AT.code("audio:extract", "audio_models.{audio_model}:SPEC"),


rule train_tagger:  # on a sound bank with a vocabulary of its own
    input:
        bank=AT.bank_files,
    output:
        weights="<data>/weights/audio/{audio_model}.safetensors",
        training="<results>/training/audio/{audio_model}.parquet",
    log:
        "<logs>/train_tagger/{audio_model}.log",
    benchmark:
        "<benchmarks>/train_tagger/{audio_model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        mem_mb=8_000,
        runtime=120,
    params:
        bank=AT.bank,
        plugin=AT.audio_plugin,
        hyper=AT.audio_hyper,
        seed=CONFIG.seed,
        runtime=AT.runtime,
        code=AT.code("tagging:train", "audio_models.{audio_model}"),
    script:
        "../workflow_scripts/train_tagger.py"


rule score_audio:
    input:
        audio="<data>/{dataset}/audio/{audio_model}/audio.parquet",
        weights="<data>/weights/audio/{audio_model}.safetensors",
    output:
        scores="<results>/audio_scores/{dataset}/{audio_model}.parquet",
    log:
        "<logs>/score_audio/{dataset}/{audio_model}.log",
    benchmark:
        "<benchmarks>/score_audio/{dataset}/{audio_model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        mem_mb=8_000,
        runtime=120,
    params:
        plugin=AT.audio_plugin,
        torch_threads=CONFIG.runtime.torch_threads,
        code=AT.code("tagging:score", "audio_models.{audio_model}"),
    script:
        "../workflow_scripts/score_audio.py"


use rule score_audio as score_corrupted_audio with:
    input:
        audio="<data>/{dataset}-c/{corruption}/{severity}/audio/{audio_model}/audio.parquet",
        weights="<data>/weights/audio/{audio_model}.safetensors",
    output:
        scores="<results>/audio_scores/{dataset}-c/{corruption}/{severity}/{audio_model}.parquet",
    log:
        "<logs>/score_audio/{dataset}-c/{corruption}/{severity}/{audio_model}.log",
    benchmark:
        "<benchmarks>/score_audio/{dataset}-c/{corruption}/{severity}/{audio_model}.tsv"


rule map_labels:  # from a reviewed file, checked against both vocabularies
    input:
        reviewed=AT.reviewed_map,
        weights="<data>/weights/audio/{audio_model}.safetensors",
        classes="<data>/{dataset}/classes.parquet",
    output:
        label_map="<results>/label_maps/{dataset}/{audio_model}.parquet",
    log:
        "<logs>/map_labels/{dataset}/{audio_model}.log",
    conda:
        "../envs/torch.yaml"
    params:
        code=AT.code("label_map:write"),
    script:
        "../workflow_scripts/map_labels.py"
