# Audio-visual video parsing: features of seconds, pseudo-labels, parsers, and what comes of them.


rule import_features:  # published files, one a video; what is wrong with one becomes a row
    input:
        clips="<data>/{dataset}/clips.parquet",
    output:
        array="<data>/{dataset}/features/{features}.npy",
        index="<data>/{dataset}/features/{features}.parquet",
    log:
        "<logs>/import_features/{dataset}/{features}.log",
    benchmark:
        "<benchmarks>/import_features/{dataset}/{features}.tsv"
    wildcard_constraints:
        features=PARSED.features_from("files"),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(8_000),
        runtime=growing(120),
    params:
        extractor=PARSED.extractor,
        files=PARSED.feature_files,
        listing=PARSED.feature_listing,
        code=PARSED.extractor_code("features:import_files"),
    script:
        "../workflow_scripts/import_features.py"


rule extract_features:  # from videos, with published weights or with models of this workflow
    input:
        clips="<data>/{dataset}/clips.parquet",
        weights=PARSED.feature_weights,
    output:
        array="<data>/{dataset}/features/{features}.npy",
        index="<data>/{dataset}/features/{features}.parquet",
    log:
        "<logs>/extract_features/{dataset}/{features}.log",
    benchmark:
        "<benchmarks>/extract_features/{dataset}/{features}.tsv"
    wildcard_constraints:
        features=PARSED.features_from("videos"),
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        gpu=1,
        mem_mb=growing(16_000),
        runtime=growing(480),
    params:
        extractor=PARSED.extractor,
        root=PARSED.dataset_root,
        batch=PARSED.feature_batch,
        runtime=PARSED.extraction_runtime,
        code=PARSED.extractor_code("features:extract"),
    script:
        "../workflow_scripts/extract_features.py"


rule synthesize_features:  # of clips without videos or features, to try things out
    input:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        events="<data>/{dataset}/events.parquet",
    output:
        array="<data>/{dataset}/features/{features}.npy",
        index="<data>/{dataset}/features/{features}.parquet",
    log:
        "<logs>/synthesize_features/{dataset}/{features}.log",
    wildcard_constraints:
        features=PARSED.features_from("nothing"),
    conda:
        "../envs/torch.yaml"
    params:
        extractor=PARSED.extractor,
        code=PARSED.extractor_code("features:synthesize"),
    script:
        "../workflow_scripts/synthesize_features.py"


rule embed_classes:  # the names of classes as vectors of the model that labels
    input:
        weights=PARSED.labeller_weights,
        classes="<data>/{dataset}/classes.parquet",
        label_map=PARSED.labeller_map,
        recipe=PARSED.recipe_file,
    output:
        vectors="<data>/{dataset}/class_vectors/{labels}/{side}.safetensors",
    log:
        "<logs>/embed_classes/{dataset}/{labels}/{side}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(8_000),
        runtime=growing(30),
    params:
        extractor=PARSED.labeller,
        recipe=PARSED.recipe,
        captions=PARSED.package_files("captions/*.csv"),
        code=PARSED.labeller_code,
    script:
        "../workflow_scripts/embed_classes.py"


rule label_segments:  # which classes' scores exceed their thresholds, second by second
    input:
        unpack(PARSED.label_features),
        unpack(PARSED.class_vectors),
        classes="<data>/{dataset}/classes.parquet",
        recipe=PARSED.recipe_file,
    output:
        array="<data>/{dataset}/pseudo_labels/{labels}.npy",
        index="<data>/{dataset}/pseudo_labels/{labels}.parquet",
    log:
        "<logs>/label_segments/{dataset}/{labels}.log",
    wildcard_constraints:
        labels=PARSED.labels_from("features"),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(8_000),
        runtime=growing(30),
    params:
        rule=PARSED.label_rule,
        captions=PARSED.package_files("captions/*.csv"),
        code=PARSED.code("pseudo_labels:label_segments"),
    script:
        "../workflow_scripts/label_segments.py"


rule import_labels:  # published files of pseudo-labels
    input:
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
    output:
        array="<data>/{dataset}/pseudo_labels/{labels}.npy",
        index="<data>/{dataset}/pseudo_labels/{labels}.parquet",
    log:
        "<logs>/import_labels/{dataset}/{labels}.log",
    wildcard_constraints:
        labels=PARSED.labels_from("files"),
    conda:
        "../envs/torch.yaml"
    params:
        files=PARSED.label_files,
        listing=PARSED.label_listing,
        code=PARSED.code("pseudo_labels:import_labels"),
    script:
        "../workflow_scripts/import_labels.py"


rule train_parser:  # a killed job goes on from where it was
    input:
        unpack(PARSED.parser_features),
        unpack(PARSED.parser_words),
        labels=PARSED.parser_labels,
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        events="<data>/{dataset}/events.parquet",
    output:
        best="<data>/weights/parsers/{parsing}/{dataset}/{parser}/{number}/best.safetensors",
        last="<data>/weights/parsers/{parsing}/{dataset}/{parser}/{number}/last.safetensors",
        training="<results>/training/parsers/{parsing}/{dataset}/{parser}/{number}.parquet",
    log:
        "<logs>/train_parser/{parsing}/{dataset}/{parser}/{number}.log",
    benchmark:
        "<benchmarks>/train_parser/{parsing}/{dataset}/{parser}/{number}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.training_threads
    resources:
        gpu=1,
        mem_mb=growing(8_000),
        runtime=growing(240),
    params:
        job=PARSED.parser_job,
        code=PARSED.code("parsing:train", "parsers.{parser}"),
    script:
        "../workflow_scripts/train_parser.py"


rule import_parser:
    input:
        unpack(PARSED.parser_features),
        unpack(PARSED.parser_words),
        manifest=PARSED.parser_manifest,
        space=PARSED.parser_space_file,
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        events="<data>/{dataset}/events.parquet",
    output:
        weights="<data>/weights/parsers/{parsing}/{dataset}/{parser}/imported.safetensors",
    log:
        "<logs>/import_parser/{parsing}/{dataset}/{parser}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=growing(8_000),
        runtime=growing(30),
    params:
        job=PARSED.imported_job,
        space=PARSED.parser_space,
        spaces=PARSED.package_files("classes/*.csv"),
        code=PARSED.code("parsing:import_weights", "parsers.{parser}"),
    script:
        "../workflow_scripts/import_parser.py"


rule parse_videos:
    input:
        unpack(PARSED.parser_features),
        unpack(PARSED.parser_words),
        weights=PARSED.parser_weights,
        labels=PARSED.parser_labels,
        clips="<data>/{dataset}/clips.parquet",
        classes="<data>/{dataset}/classes.parquet",
        events="<data>/{dataset}/events.parquet",
    output:
        parses="<results>/parses/{parsing}/{dataset}/{parser}/{number}.parquet",
    log:
        "<logs>/parse_videos/{parsing}/{dataset}/{parser}/{number}.log",
    conda:
        "../envs/torch.yaml"
    threads: CONFIG.runtime.torch_threads
    resources:
        gpu=1,
        mem_mb=growing(8_000),
        runtime=growing(60),
    params:
        job=PARSED.parser_job,
        split=PARSED.parsing_field("split"),
        facts=PARSED.parser_facts,
        code=PARSED.code("parsing:parse", "parsers.{parser}"),
    script:
        "../workflow_scripts/parse_videos.py"


rule score_parses:
    input:
        parses=PARSED.parses,
        clips=PARSED.parsing_datasets("{data}/{dataset}/clips.parquet"),
        events=PARSED.parsing_datasets("{data}/{dataset}/events.parquet"),
        classes=PARSED.parsing_datasets("{data}/{dataset}/classes.parquet"),
    output:
        metrics="<results>/metrics/{parsing}.parquet",
        by_class="<results>/metrics/{parsing}.classes.parquet",
    log:
        "<logs>/score_parses/{parsing}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{parsing}",
        datasets=PARSED.parsing_field("datasets"),
        split=PARSED.parsing_field("split"),
        reference=PARSED.parsing_reference,
        code=PARSED.code("parse_scoring:score_all", "data_facts"),
    script:
        "../workflow_scripts/score_parses.py"


rule make_parse_tables:
    input:
        metrics="<results>/metrics/{parsing}.parquet",
        by_class="<results>/metrics/{parsing}.classes.parquet",
        parses=PARSED.parses,
        training=PARSED.training,
    output:
        markdown="<results>/tables/{parsing}/scores.md",
        csv="<results>/tables/{parsing}/scores.csv",
        tidy="<results>/tables/{parsing}/metrics.csv",
        latex="<results>/tables/{parsing}/scores.tex",
        html=report(
            "<results>/tables/{parsing}/scores.html",
            category="Parsing",
            subcategory="{parsing}",
            labels={"what": "tables"},
        ),
    log:
        "<logs>/make_parse_tables/{parsing}.log",
    conda:
        "../envs/report.yaml"
    params:
        title=PARSED.parsing_field("title"),
        split=PARSED.parsing_field("split"),
        seeds=PARSED.parsing_field("seeds"),
        reference=PARSED.parsing_reference,
        parsers=PARSED.parsers,
        plugins=PARSED.parsing_plugins,
        published=PARSED.package_files("published/*.csv"),
        template=PARSED.package_files("templates/*"),
        code=PARSED.code("parse_tables:write"),
    script:
        "../workflow_scripts/make_parse_tables.py"


rule draw_parse_figures:
    input:
        metrics="<results>/metrics/{parsing}.parquet",
        parses=PARSED.parses,
        training=PARSED.training,
        events=PARSED.parsing_datasets("{data}/{dataset}/events.parquet"),
        clips=PARSED.parsing_datasets("{data}/{dataset}/clips.parquet"),
        classes=PARSED.parsing_datasets("{data}/{dataset}/classes.parquet"),
    output:
        figures=report(
            directory("<results>/figures/{parsing}"),
            patterns=["{figure}.png"],
            category="Parsing",
            subcategory="{parsing}",
            labels={"what": "{figure}"},
        ),
    log:
        "<logs>/draw_parse_figures/{parsing}.log",
    conda:
        "../envs/report.yaml"
    params:
        title=PARSED.parsing_field("title"),
        split=PARSED.parsing_field("split"),
        seeds=PARSED.parsing_field("seeds"),
        reference=PARSED.parsing_reference,
        parsers=PARSED.parsers,
        plugins=PARSED.parsing_plugins,
        dataset_roots=PARSED.parsing_roots,
        code=PARSED.code("parse_figures:draw", "parse_timelines:Sources"),
    script:
        "../workflow_scripts/draw_parse_figures.py"


use rule record_environment as record_parsing_environment with:
    input:
        parses=PARSED.parses,
    output:
        environment="<results>/environment/{parsing}.json",
    log:
        "<logs>/record_environment/{parsing}.log",


rule write_parse_report:
    input:
        metrics="<results>/metrics/{parsing}.parquet",
        by_class="<results>/metrics/{parsing}.classes.parquet",
        figures="<results>/figures/{parsing}",
        parses=PARSED.parses,
        training=PARSED.training,
        clips=PARSED.parsing_datasets("{data}/{dataset}/clips.parquet"),
        classes=PARSED.parsing_datasets("{data}/{dataset}/classes.parquet"),
        environment="<results>/environment/{parsing}.json",
    output:
        html=report(
            "<results>/reports/{parsing}.html",
            category="Parsing",
            subcategory="{parsing}",
            labels={"what": "report"},
        ),
        summary="<results>/reports/{parsing}.json",
    log:
        "<logs>/write_parse_report/{parsing}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{parsing}",
        title=PARSED.parsing_field("title"),
        split=PARSED.parsing_field("split"),
        seeds=PARSED.parsing_field("seeds"),
        reference=PARSED.parsing_reference,
        parsers=PARSED.parsers,
        plugins=PARSED.parsing_plugins,
        files=PARSED.parsing_places,
        published=PARSED.package_files("published/*.csv"),
        template=PARSED.package_files("templates/*"),
        code=PARSED.code("parse_report:write"),
    script:
        "../workflow_scripts/write_parse_report.py"


rule log_parses:
    input:
        metrics="<results>/metrics/{parsing}.parquet",
        by_class="<results>/metrics/{parsing}.classes.parquet",
        figures="<results>/figures/{parsing}",
        parses=PARSED.parses,
        training=PARSED.training,
        environment="<results>/environment/{parsing}.json",
        report="<results>/reports/{parsing}.html",
        tables=[
            "<results>/tables/{parsing}/scores.md",
            "<results>/tables/{parsing}/scores.csv",
            "<results>/tables/{parsing}/metrics.csv",
            "<results>/tables/{parsing}/scores.tex",
            "<results>/tables/{parsing}/scores.html",
        ],
    output:
        done="<results>/mlflow/{parsing}.json",
    log:
        "<logs>/log_parses/{parsing}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{parsing}",
        uri=CONFIG.mlflow.uri,
        prefix=CONFIG.mlflow.prefix,
        title=PARSED.parsing_field("title"),
        split=PARSED.parsing_field("split"),
        seeds=PARSED.parsing_field("seeds"),
        reference=PARSED.parsing_reference,
        parsers=PARSED.parsers,
        plugins=PARSED.parsing_plugins,
        published=PARSED.package_files("published/*.csv"),
        code=PARSED.code("parse_tracking:log"),
    script:
        "../workflow_scripts/log_parses.py"
