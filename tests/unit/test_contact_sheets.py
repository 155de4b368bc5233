"""Contact sheets: what a reader sees is what the corruptions do."""

import json

import numpy as np
from PIL import Image
from test_synthesis import ENCODING, index

from earshot import contact_sheets, media, report
from helpers import moving_square


def plain(root, corruption):
    recipe = {"corruption": corruption, "severity": 1, "preset": "ucf101c", "temporal": "per_frame", "seed": 0}
    return {
        "recipe": recipe, "encoding": ENCODING, "materialise": True, "position": "offline", "allow_hdr": False, "beds": "",
        "root": str(root),
    }  # fmt: skip


def test_severities_run_across_and_time_down(tmp_path):
    root = tmp_path / "clean"
    root.mkdir()
    media.write_video(root / "a.mp4", moving_square(size=96), 16)
    (root / "labels.csv").write_text("path,label,split\na.mp4,x,test\n")
    index(root)
    out = tmp_path / "sheets"
    names = ["gauss", "h265_abr"]
    contact_sheets.draw([str(root / "clips.parquet")], {"mine": [plain(root, name) for name in names]}, "test", str(out))
    listed = json.loads((out / "sheets.json").read_text())
    assert [sheet["corruption"] for sheet in listed] == names
    assert listed[0]["values"] == [0.08, 0.12, 0.18, 0.26, 0.38]
    picture = np.asarray(Image.open(out / "mine-gauss.jpg")).astype(float)
    assert picture.shape[:2] == (3 * 135 - 3, 6 * 135 - 3)
    cells = [picture[:132, 135 * i : 135 * i + 132] for i in range(6)]
    distances = [np.square(cell - cells[0]).mean() for cell in cells]
    assert distances == sorted(distances) and distances[1] > 50
    assert np.square(picture[270:402, :132] - cells[0]).mean() > 50  # the square has moved
    rows = report.contact_sheet_rows(str(out))
    assert rows[0]["image"].startswith("data:image/jpeg;base64,") and "0.08, 0.12" in rows[0]["value"]


def test_a_dataset_without_a_clip_has_no_sheet(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label,split\nabsent.mp4,x,test\n")
    index(tmp_path)
    contact_sheets.draw([str(tmp_path / "clips.parquet")], {"mine": [plain(tmp_path, "gauss")]}, "test", str(tmp_path / "out"))
    assert report.contact_sheet_rows(str(tmp_path / "out")) == []
