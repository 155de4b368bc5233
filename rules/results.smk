# From predictions to numbers, tables, figures and a report. Nothing here needs a GPU.


rule record_environment:
    input:
        predictions=AT.cells(".parquet"),
    output:
        environment="<results>/environment/{experiment}.json",
    log:
        "<logs>/record_environment/{experiment}.log",
    conda:
        "../envs/torch.yaml"
    params:
        config=CONFIG.model_dump(mode="json"),
        code=AT.code("environment:describe"),
    script:
        "../workflow_scripts/record_environment.py"


rule score_predictions:
    input:
        predictions=AT.cells(".parquet"),
        classes=AT.datasets("{data}/{dataset}/classes.parquet"),
        label_map=AT.datasets("{results}/label_maps/{dataset}/{model}.{mapper}.parquet"),
    output:
        metrics="<results>/metrics/{experiment}.parquet",
        by_class="<results>/metrics/{experiment}.classes.parquet",
    log:
        "<logs>/score_predictions/{experiment}.log",
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=growing(8_000),
        runtime=growing(60),
    params:
        experiment="{experiment}",
        datasets=AT.field("datasets"),
        class_groups=AT.field("class_groups"),
        code=AT.code("scoring:score", "scoring:vocabularies", "data_facts"),
    script:
        "../workflow_scripts/score_predictions.py"


rule make_tables:
    input:
        metrics="<results>/metrics/{experiment}.parquet",
        by_class="<results>/metrics/{experiment}.classes.parquet",
    output:
        markdown="<results>/tables/{experiment}/accuracy.md",
        csv="<results>/tables/{experiment}/accuracy.csv",
        tidy="<results>/tables/{experiment}/metrics.csv",
        latex="<results>/tables/{experiment}/accuracy.tex",
        html=report(
            "<results>/tables/{experiment}/accuracy.html",
            category="Adaptation",
            subcategory="{experiment}",
            labels={"what": "tables"},
        ),
    log:
        "<logs>/make_tables/{experiment}.log",
    conda:
        "../envs/report.yaml"
    params:
        title=AT.field("title"),
        protocol=AT.protocol,
        split=AT.field("split"),
        seeds=AT.field("seeds"),
        methods=AT.methods,
        published=AT.package_files("published/*.csv"),
        template=AT.package_files("templates/*"),
        code=AT.code("tables", "pages:write_tables"),
    script:
        "../workflow_scripts/make_tables.py"


rule draw_figures:
    input:
        metrics="<results>/metrics/{experiment}.parquet",
        by_class="<results>/metrics/{experiment}.classes.parquet",
        predictions=AT.cells(".parquet"),
        timings=AT.cells(".timing.parquet"),
        clips=AT.datasets("{data}/{dataset}/clips.parquet"),
        corrupted=AT.corrupted_clips,
        classes=AT.datasets("{data}/{dataset}/classes.parquet"),
        audio=AT.datasets("{data}/{dataset}{sound}/audio/{rate}/audio.parquet"),
        label_map=AT.datasets("{results}/label_maps/{dataset}/{model}.{mapper}.parquet"),
        training=AT.trainings,
    output:
        figures=report(
            directory("<results>/figures/{experiment}"),
            patterns=["{figure}.png"],
            category="Adaptation",
            subcategory="{experiment}",
            labels={"what": "{figure}"},
        ),
    log:
        "<logs>/draw_figures/{experiment}.log",
    conda:
        "../envs/report.yaml"
    params:
        title=AT.field("title"),
        protocol=AT.protocol,
        split=AT.field("split"),
        seeds=AT.field("seeds"),
        methods=AT.methods,
        dataset_roots=AT.roots,
        code=AT.code("figures"),
    script:
        "../workflow_scripts/draw_figures.py"


rule write_report:
    input:
        metrics="<results>/metrics/{experiment}.parquet",
        by_class="<results>/metrics/{experiment}.classes.parquet",
        figures="<results>/figures/{experiment}",
        predictions=AT.cells(".parquet"),
        timings=AT.cells(".timing.parquet"),
        clips=AT.datasets("{data}/{dataset}/clips.parquet", also_indexed=True),
        corrupted=AT.corrupted_clips,
        classes=AT.datasets("{data}/{dataset}/classes.parquet"),
        audio=AT.datasets("{data}/{dataset}{sound}/audio/{rate}/audio.parquet"),
        audio_scores=AT.datasets(
            "{results}/audio_scores/{dataset}{sound}/{model}.parquet"
        ),
        label_map=AT.datasets("{results}/label_maps/{dataset}/{model}.{mapper}.parquet"),
        map_reports=AT.datasets("{results}/label_maps/{dataset}/{model}.{mapper}.html"),
        training=AT.trainings,
        tuning=AT.tuning_trials,
        environment="<results>/environment/{experiment}.json",
        sheets="<results>/contact_sheets/{experiment}",
    output:
        html=report(
            "<results>/reports/{experiment}.html",
            category="Adaptation",
            subcategory="{experiment}",
            labels={"what": "report"},
        ),
        summary="<results>/reports/{experiment}.json",
    log:
        "<logs>/write_report/{experiment}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{experiment}",
        title=AT.field("title"),
        protocol=AT.protocol,
        split=AT.field("split"),
        seeds=AT.field("seeds"),
        methods=AT.methods,
        files=AT.files,
        published=AT.package_files("published/*.csv"),
        template=AT.package_files("templates/*"),
        code=AT.code("report"),
    script:
        "../workflow_scripts/write_report.py"


rule write_overview:
    input:
        summaries=collect("<results>/reports/{target}.json", target=CONFIG.targets),
    output:
        html=report("<results>/report.html", category="Overview"),
    log:
        "<logs>/write_overview/targets.log",
    conda:
        "../envs/report.yaml"
    params:
        template=AT.package_files("templates/*"),
        code=AT.code("overview:write"),
    script:
        "../workflow_scripts/write_overview.py"


rule log_to_mlflow:  # one process logs everything, so jobs never talk to a server
    input:
        metrics="<results>/metrics/{experiment}.parquet",
        by_class="<results>/metrics/{experiment}.classes.parquet",
        figures="<results>/figures/{experiment}",
        environment="<results>/environment/{experiment}.json",
        report="<results>/reports/{experiment}.html",
        tables=[
            "<results>/tables/{experiment}/accuracy.md",
            "<results>/tables/{experiment}/accuracy.csv",
            "<results>/tables/{experiment}/metrics.csv",
            "<results>/tables/{experiment}/accuracy.tex",
            "<results>/tables/{experiment}/accuracy.html",
        ],
    output:
        done="<results>/mlflow/{experiment}.json",
    log:
        "<logs>/log_to_mlflow/{experiment}.log",
    conda:
        "../envs/report.yaml"
    params:
        experiment="{experiment}",
        uri=CONFIG.mlflow.uri,
        prefix=CONFIG.mlflow.prefix,
        title=AT.field("title"),
        protocol=AT.protocol,
        split=AT.field("split"),
        seeds=AT.field("seeds"),
        methods=AT.methods,
        published=AT.package_files("published/*.csv"),
        code=AT.code("tracking:log"),
    script:
        "../workflow_scripts/log_to_mlflow.py"
