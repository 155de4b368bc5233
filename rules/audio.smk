# What is heard: sound tracks, audio-event scores, and the map from their names to video classes.


rule extract_audio:  # decoded once for all audio models of that rate, in Hz
    input:
        clips="<data>/{dataset}/clips.parquet",
    output:
        audio="<data>/{dataset}/audio/{rate}/audio.parquet",
    log:
        "<logs>/extract_audio/{dataset}/{rate}.log",
    benchmark:
        "<benchmarks>/extract_audio/{dataset}/{rate}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.workers
    resources:
        mem_mb=growing(4_000),
        runtime=growing(120),
    params:
        root=AT.dataset_root,
        splits=AT.splits_to_hear,
        code=AT.code("audio:extract"),
    script:
        "../workflow_scripts/extract_audio.py"


use rule extract_audio as extract_corrupted_audio with:
    input:
        clips="<data>/{dataset}-c/{corruption}/{severity}/clips.parquet",
    output:
        audio="<data>/{dataset}-c/{corruption}/{severity}/audio/{rate}/audio.parquet",
    log:
        "<logs>/extract_audio/{dataset}-c/{corruption}/{severity}/{rate}.log",
    benchmark:
        "<benchmarks>/extract_audio/{dataset}-c/{corruption}/{severity}/{rate}.tsv"
    params:
        root=AT.folder_of_corrupted,
        splits=AT.splits_to_corrupt,
        code=AT.code("audio:extract"),


rule train_tagger:  # on a sound bank with a vocabulary of its own
    input:
        bank=AT.bank_files,
    output:
        weights="<data>/audio_models/{audio_model}/trained.safetensors",
        training="<results>/training/audio/{audio_model}.parquet",
    log:
        "<logs>/train_tagger/{audio_model}.log",
    benchmark:
        "<benchmarks>/train_tagger/{audio_model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        mem_mb=growing(8_000),
        runtime=growing(120),
    params:
        bank=AT.bank,
        plugin=AT.audio_plugin,
        options=AT.audio_options,
        hyper=AT.audio_hyper,
        seed=CONFIG.seed,
        runtime=AT.runtime,
        code=AT.code("tagging:train", "audio_models.{audio_model}"),
    script:
        "../workflow_scripts/train_tagger.py"


rule import_tagger:  # published weights; the file of the checkpoint is read without running code in it
    input:
        manifest=AT.tagger_manifest,
        space=AT.sounds_file,
    output:
        weights="<data>/audio_models/{audio_model}/imported.safetensors",
    log:
        "<logs>/import_tagger/{audio_model}.log",
    benchmark:
        "<benchmarks>/import_tagger/{audio_model}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(16_000),
        runtime=growing(60),
    params:
        space=AT.sounds,
        plugin=AT.audio_plugin,
        options=AT.audio_options,
        spaces=AT.package_files("classes/*.csv"),
        code=AT.code("tagger_weights:import_weights", "audio_models.{audio_model}"),
    script:
        "../workflow_scripts/import_tagger.py"


use rule import_tagger as import_tagger_of_dataset with:  # whose sounds are the classes of a dataset
    input:
        manifest=AT.tagger_manifest,
        classes="<data>/{dataset}/classes.parquet",
    output:
        weights="<data>/audio_models/{audio_model}/{dataset}/imported.safetensors",
    log:
        "<logs>/import_tagger/{audio_model}/{dataset}.log",
    benchmark:
        "<benchmarks>/import_tagger/{audio_model}/{dataset}.tsv"


rule score_audio:
    input:
        audio=AT.sound,
        weights=AT.tagger_weights,
    output:
        scores="<results>/audio_scores/{dataset}/{audio_model}.parquet",
    log:
        "<logs>/score_audio/{dataset}/{audio_model}.log",
    benchmark:
        "<benchmarks>/score_audio/{dataset}/{audio_model}.tsv"
    wildcard_constraints:
        audio_model=LISTENING,
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        gpu=1,
        mem_mb=growing(8_000),
        runtime=growing(120),
    params:
        batch=AT.audio_batch,
        runtime=AT.runtime,
        code=AT.code("hearing:score", "audio_models.{audio_model}"),
    script:
        "../workflow_scripts/score_audio.py"


use rule score_audio as score_corrupted_audio with:
    input:
        audio=AT.corrupted_sound,
        weights=AT.tagger_weights,
    output:
        scores="<results>/audio_scores/{dataset}-c/{corruption}/{severity}/{audio_model}.parquet",
    log:
        "<logs>/score_audio/{dataset}-c/{corruption}/{severity}/{audio_model}.log",
    benchmark:
        "<benchmarks>/score_audio/{dataset}-c/{corruption}/{severity}/{audio_model}.tsv"


rule import_scores:  # made elsewhere
    input:
        scores=AT.ready_scores,
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        space=AT.sounds_file,
    output:
        scores="<results>/audio_scores/{dataset}/{audio_model}.parquet",
    log:
        "<logs>/import_scores/{dataset}/{audio_model}.log",
    wildcard_constraints:
        audio_model=READY,
    conda:
        "../envs/torch.yaml"
    params:
        space=AT.sounds,
        plugin=AT.audio_plugin,
        options=AT.audio_options,
        splits=AT.splits_to_hear,
        spaces=AT.package_files("classes/*.csv"),
        code=AT.code("audio_models.{audio_model}:import_scores"),
    script:
        "../workflow_scripts/import_scores.py"


rule ask_mapper:  # once: no digest of code, and a map that answers the same question stays, edited or not
    input:
        weights=AT.tagger_weights,
        classes="<data>/{dataset}/classes.parquet",
        space=AT.sounds_file,
    output:
        map=update("<data>/label_maps/{dataset}/{audio_model}/{mapper}.json"),
    log:
        "<logs>/ask_mapper/{dataset}/{audio_model}/{mapper}.log",
    wildcard_constraints:
        mapper=ASKED,
    retries: 0  # what may pass is tried again in the job; more would be paid for
    conda:
        "../envs/language.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        mem_mb=growing(8_000),
    params:
        mapper=AT.mapper,
        space=AT.sounds,
        answers=AT.answers,
        prompts=AT.package_files("prompts/*.txt"),
        spaces=AT.package_files("classes/*.csv"),
        torch_threads=CONFIG.runtime.torch_threads,
    script:
        "../workflow_scripts/ask_mapper.py"


rule map_labels:  # checked against both vocabularies
    input:
        map=AT.map_file,
        weights=AT.tagger_weights,
        classes="<data>/{dataset}/classes.parquet",
        space=AT.sounds_file,
    output:
        label_map="<results>/label_maps/{dataset}/{audio_model}.{mapper}.parquet",
    log:
        "<logs>/map_labels/{dataset}/{audio_model}/{mapper}.log",
    conda:
        "../envs/torch.yaml"
    params:
        space=AT.sounds,
        spaces=AT.package_files("classes/*.csv"),
        code=AT.code("label_map:write", "sounds:vocabulary"),
    script:
        "../workflow_scripts/map_labels.py"


rule report_label_map:  # what is reached, what is doubtful and, where names are equal, what is right
    input:
        label_map="<results>/label_maps/{dataset}/{audio_model}.{mapper}.parquet",
        classes="<data>/{dataset}/classes.parquet",
    output:
        html="<results>/label_maps/{dataset}/{audio_model}.{mapper}.html",
    log:
        "<logs>/report_label_map/{dataset}/{audio_model}/{mapper}.log",
    conda:
        "../envs/report.yaml"
    params:
        title="{dataset}: {audio_model}, mapped by {mapper}",
        template=AT.package_files("templates/*"),
        code=AT.code("map_report:write"),
    script:
        "../workflow_scripts/report_label_map.py"


rule compare_label_maps:  # of two mappers, or of one and a reviewed file
    input:
        one=AT.map_file,
        other=AT.other_map_file,
    output:
        text="<results>/label_maps/{dataset}/{audio_model}.{mapper}-against-{other}.md",
    log:
        "<logs>/compare_label_maps/{dataset}/{audio_model}/{mapper}-{other}.log",
    conda:
        "../envs/torch.yaml"
    params:
        code=AT.code("map_agreement:compare"),
    script:
        "../workflow_scripts/compare_label_maps.py"
