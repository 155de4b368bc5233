# Cross-modal prompting: clips cut into segments, frozen encoders, the modules between them, and what comes of them.


rule segment_frames:  # a few frames of every clip, resized; what is wrong with a clip becomes a row
    input:
        clips="<data>/{dataset}/clips.parquet",
    output:
        array="<data>/{dataset}/segments/frames-{segments}x{px}-{frame_rule}.npy",
        index="<data>/{dataset}/segments/frames-{segments}x{px}-{frame_rule}.parquet",
    log:
        "<logs>/segment_frames/{dataset}/{segments}x{px}-{frame_rule}.log",
    benchmark:
        "<benchmarks>/segment_frames/{dataset}/{segments}x{px}-{frame_rule}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=growing(8_000),
        runtime=growing(480),
    params:
        plugin=AT.dataset_plugin,
        options=AT.dataset_options,
        root=AT.dataset_root,
        code=AT.code("segments:write_frames", "datasets.{dataset}"),
    script:
        "../workflow_scripts/segment_frames.py"


rule segment_waves:  # the sound of every clip at the rate of the encoders
    input:
        clips="<data>/{dataset}/clips.parquet",
    output:
        array="<data>/{dataset}/segments/waves-{segments}x{rate}.npy",
        index="<data>/{dataset}/segments/waves-{segments}x{rate}.parquet",
    log:
        "<logs>/segment_waves/{dataset}/{segments}x{rate}.log",
    benchmark:
        "<benchmarks>/segment_waves/{dataset}/{segments}x{rate}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=growing(8_000),
        runtime=growing(480),
    params:
        plugin=AT.dataset_plugin,
        options=AT.dataset_options,
        root=AT.dataset_root,
        code=AT.code("segments:write_waves", "datasets.{dataset}"),
    script:
        "../workflow_scripts/segment_waves.py"


rule segment_masks:  # which pixels show what sounds
    input:
        clips="<data>/{dataset}/clips.parquet",
        masks="<data>/{dataset}/masks.parquet",
    output:
        array="<data>/{dataset}/segments/masks-{segments}x{px}.npy",
        index="<data>/{dataset}/segments/masks-{segments}x{px}.parquet",
    log:
        "<logs>/segment_masks/{dataset}/{segments}x{px}.log",
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=growing(8_000),
        runtime=growing(120),
    params:
        root=AT.dataset_root,
        code=AT.code("segments:write_masks"),
    script:
        "../workflow_scripts/segment_masks.py"


rule import_encoders:
    input:
        unpack(PROMPTED.encoders_manifests),
    output:
        weights="<data>/weights/encoders/{encoders}/{kind}.safetensors",
    log:
        "<logs>/import_encoders/{encoders}/{kind}.log",
    wildcard_constraints:
        encoders=PROMPTED.encoders_from("imported"),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(16_000),
        runtime=growing(60),
    params:
        job=PROMPTED.encoders_job,
        code=AT.code("encoder_weights:import_encoders"),
    script:
        "../workflow_scripts/import_encoders.py"


rule train_encoders:  # small ones, on classified clips; nothing of the test split is seen
    input:
        unpack(PROMPTED.encoders_clips),
    output:
        weights="<data>/weights/encoders/{encoders}/{kind}.safetensors",
        training="<results>/training/encoders/{encoders}/{kind}.parquet",
    log:
        "<logs>/train_encoders/{encoders}/{kind}.log",
    benchmark:
        "<benchmarks>/train_encoders/{encoders}/{kind}.tsv"
    wildcard_constraints:
        encoders=PROMPTED.encoders_from("trained"),
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        gpu=1,
        mem_mb=growing(16_000),
        runtime=growing(480),
    params:
        job=PROMPTED.trained_encoders_job,
        code=AT.code("encoder_training:train", "prompters.none"),
    script:
        "../workflow_scripts/train_encoders.py"


rule initialise_encoders:  # never trained; every table says so
    output:
        weights="<data>/weights/encoders/{encoders}/{kind}.safetensors",
    log:
        "<logs>/initialise_encoders/{encoders}/{kind}.log",
    wildcard_constraints:
        encoders=PROMPTED.encoders_from("random"),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(8_000),
        runtime=growing(30),
    params:
        job=PROMPTED.encoders_job,
        code=AT.code("encoder_weights:initialise_encoders"),
    script:
        "../workflow_scripts/initialise_encoders.py"


rule train_prompter:  # a killed job goes on from where it was
    input:
        unpack(PROMPTED.training_clips),
        encoders=PROMPTED.prompter_encoders,
    output:
        weights="<data>/weights/prompters/{prompting}/{dataset}/{prompter}/{number}.safetensors",
        training="<results>/training/prompters/{prompting}/{dataset}/{prompter}/{number}.parquet",
        costs="<results>/training/prompters/{prompting}/{dataset}/{prompter}/{number}.costs.parquet",
    log:
        "<logs>/train_prompter/{prompting}/{dataset}/{prompter}/{number}.log",
    benchmark:
        "<benchmarks>/train_prompter/{prompting}/{dataset}/{prompter}/{number}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        gpu=1,
        mem_mb=growing(24_000),
        runtime=growing(1_440),
    params:
        job=PROMPTED.prompter_job,
        facts=PROMPTED.prompter_facts,
        code=PROMPTED.prompting_code("prompting:train"),
    script:
        "../workflow_scripts/train_prompter.py"


rule import_prompter:
    input:
        unpack(PROMPTED.prompter_clips),
        encoders=PROMPTED.prompter_encoders,
        manifest=PROMPTED.prompter_manifest,
    output:
        weights="<data>/weights/prompters/{prompting}/{dataset}/{prompter}/imported.safetensors",
    log:
        "<logs>/import_prompter/{prompting}/{dataset}/{prompter}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(16_000),
        runtime=growing(30),
    params:
        job=PROMPTED.imported_prompter_job,
        facts=PROMPTED.prompter_facts,
        code=PROMPTED.prompting_code("prompting:import_weights"),
    script:
        "../workflow_scripts/import_prompter.py"


rule run_prompter:
    input:
        unpack(PROMPTED.prompter_clips),
        encoders=PROMPTED.prompter_encoders,
        weights=PROMPTED.prompter_weights,
    output:
        prompted="<results>/prompted/{prompting}/{dataset}/{prompter}/{number}.parquet",
        views="<results>/prompted/{prompting}/{dataset}/{prompter}/{number}.views.safetensors",
    log:
        "<logs>/run_prompter/{prompting}/{dataset}/{prompter}/{number}.log",
    benchmark:
        "<benchmarks>/run_prompter/{prompting}/{dataset}/{prompter}/{number}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        gpu=1,
        mem_mb=growing(16_000),
        runtime=growing(240),
    params:
        job=PROMPTED.prompter_job,
        split=PROMPTED.prompting_field("split"),
        show=PROMPTED.prompting_field("show"),
        facts=PROMPTED.prompter_facts,
        code=PROMPTED.prompting_code("prompting:run"),
    script:
        "../workflow_scripts/run_prompter.py"


rule score_prompts:
    input:
        prompted=PROMPTED.prompted(".parquet"),
        clips=PROMPTED.prompting_datasets("{data}/{dataset}/clips.parquet"),
        events=PROMPTED.prompting_datasets("{data}/{dataset}/events.parquet"),
        classes=PROMPTED.prompting_datasets("{data}/{dataset}/classes.parquet"),
        questions=PROMPTED.prompting_datasets("{data}/{dataset}/questions.parquet"),
        masks=PROMPTED.prompting_truth("masks"),
    output:
        metrics="<results>/metrics/{prompting}.parquet",
    log:
        "<logs>/score_prompts/{prompting}.log",
    conda:
        "../envs/torch.yaml"
    params:
        experiment="{prompting}",
        datasets=PROMPTED.prompting_field("datasets"),
        split=PROMPTED.prompting_field("split"),
        task=PROMPTED.prompting_task,
        reference=PROMPTED.prompting_reference,
        code=PROMPTED.task_code("prompt_scoring:score", "data_facts"),
    script:
        "../workflow_scripts/score_prompts.py"


rule make_prompt_tables:
    input:
        metrics="<results>/metrics/{prompting}.parquet",
        prompted=PROMPTED.prompted(".parquet"),
        training=PROMPTED.prompter_training(".parquet"),
        costs=PROMPTED.prompter_training(".costs.parquet"),
    output:
        markdown="<results>/tables/{prompting}/scores.md",
        csv="<results>/tables/{prompting}/scores.csv",
        tidy="<results>/tables/{prompting}/metrics.csv",
        latex="<results>/tables/{prompting}/scores.tex",
        html=report(
            "<results>/tables/{prompting}/scores.html",
            category="Prompting",
            subcategory="{prompting}",
            labels={"what": "tables"},
        ),
    log:
        "<logs>/make_prompt_tables/{prompting}.log",
    conda:
        "../envs/report.yaml"
    params:
        title=PROMPTED.prompting_field("title"),
        split=PROMPTED.prompting_field("split"),
        seeds=PROMPTED.prompting_field("seeds"),
        task=PROMPTED.prompting_task,
        reference=PROMPTED.prompting_reference,
        prompters=PROMPTED.prompters,
        plugins=PROMPTED.prompting_plugins,
        published=PROMPTED.package_files("published/*.csv"),
        template=PROMPTED.package_files("templates/*"),
        code=PROMPTED.code("prompt_tables:write"),
    script:
        "../workflow_scripts/make_prompt_tables.py"


rule draw_prompt_figures:
    input:
        metrics="<results>/metrics/{prompting}.parquet",
        prompted=PROMPTED.prompted(".parquet"),
        views=PROMPTED.prompted(".views.safetensors"),
        training=PROMPTED.prompter_training(".parquet"),
        classes=PROMPTED.prompting_datasets("{data}/{dataset}/classes.parquet"),
    output:
        figures=report(
            directory("<results>/figures/{prompting}"),
            patterns=["{figure}.png"],
            category="Prompting",
            subcategory="{prompting}",
            labels={"what": "{figure}"},
        ),
    log:
        "<logs>/draw_prompt_figures/{prompting}.log",
    conda:
        "../envs/report.yaml"
    threads: 4
    resources:
        mem_mb=growing(8_000),
        runtime=growing(120),
    params:
        title=PROMPTED.prompting_field("title"),
        split=PROMPTED.prompting_field("split"),
        seeds=PROMPTED.prompting_field("seeds"),
        task=PROMPTED.prompting_task,
        reference=PROMPTED.prompting_reference,
        prompters=PROMPTED.prompters,
        plugins=PROMPTED.prompting_plugins,
        code=PROMPTED.code("prompt_figures:draw"),
    script:
        "../workflow_scripts/draw_prompt_figures.py"


use rule record_environment as record_prompting_environment with:
    input:
        prompted=PROMPTED.prompted(".parquet"),
    output:
        environment="<results>/environment/{prompting}.json",
    log:
        "<logs>/record_environment/{prompting}.log",


rule write_prompt_report:
    input:
        metrics="<results>/metrics/{prompting}.parquet",
        figures="<results>/figures/{prompting}",
        prompted=PROMPTED.prompted(".parquet"),
        training=PROMPTED.prompter_training(".parquet"),
        costs=PROMPTED.prompter_training(".costs.parquet"),
        clips=PROMPTED.prompting_datasets("{data}/{dataset}/clips.parquet"),
        classes=PROMPTED.prompting_datasets("{data}/{dataset}/classes.parquet"),
        environment="<results>/environment/{prompting}.json",
    output:
        html=report(
            "<results>/reports/{prompting}.html",
            category="Prompting",
            subcategory="{prompting}",
            labels={"what": "report"},
        ),
        summary="<results>/reports/{prompting}.json",
    log:
        "<logs>/write_prompt_report/{prompting}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{prompting}",
        title=PROMPTED.prompting_field("title"),
        split=PROMPTED.prompting_field("split"),
        seeds=PROMPTED.prompting_field("seeds"),
        task=PROMPTED.prompting_task,
        reference=PROMPTED.prompting_reference,
        prompters=PROMPTED.prompters,
        plugins=PROMPTED.prompting_plugins,
        files=PROMPTED.prompting_places,
        published=PROMPTED.package_files("published/*.csv"),
        template=PROMPTED.package_files("templates/*"),
        code=PROMPTED.code("prompt_report:write"),
    script:
        "../workflow_scripts/write_prompt_report.py"


rule log_prompts:
    input:
        metrics="<results>/metrics/{prompting}.parquet",
        figures="<results>/figures/{prompting}",
        prompted=PROMPTED.prompted(".parquet"),
        training=PROMPTED.prompter_training(".parquet"),
        costs=PROMPTED.prompter_training(".costs.parquet"),
        environment="<results>/environment/{prompting}.json",
        report="<results>/reports/{prompting}.html",
        tables=[
            "<results>/tables/{prompting}/scores.md",
            "<results>/tables/{prompting}/scores.csv",
            "<results>/tables/{prompting}/metrics.csv",
            "<results>/tables/{prompting}/scores.tex",
            "<results>/tables/{prompting}/scores.html",
        ],
    output:
        done="<results>/mlflow/{prompting}.json",
    log:
        "<logs>/log_prompts/{prompting}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{prompting}",
        uri=CONFIG.mlflow.uri,
        prefix=CONFIG.mlflow.prefix,
        title=PROMPTED.prompting_field("title"),
        split=PROMPTED.prompting_field("split"),
        seeds=PROMPTED.prompting_field("seeds"),
        task=PROMPTED.prompting_task,
        reference=PROMPTED.prompting_reference,
        prompters=PROMPTED.prompters,
        plugins=PROMPTED.prompting_plugins,
        published=PROMPTED.package_files("published/*.csv"),
        code=PROMPTED.code("prompt_tracking:log"),
    script:
        "../workflow_scripts/log_prompts.py"
