"""Every dataset in miniature, in the form in which it is published: what a server offers, and what its users are given.

Names of archives, files, folders and lists, and the form of the lists, are the published ones; the videos are generated and
tiny. In each something is wrong that is wrong in the real one: a video that is gone, a file that is cut off, a leak.
"""

import hashlib
import io
import json
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import ffmpeg
import numpy as np
from PIL import Image
from rar_files import rar

from earshot import label_spaces, media
from helpers import moving_square, tone

Url = Callable[[str], str]


@dataclass(frozen=True)
class Miniature:
    """What is offered of a dataset, and what is to be found in it.

    `served` is on a server, by the name of the file; `linked` as well, at addresses that a served list tells; `dropped` was
    put into the folder `downloads` by hand; `videos` are those that YouTube still has, by `<id>_<start>_<end>`. `found` are
    the clips that can be used and `listed` all, by split; `findings` counts what is wrong by kind.
    """

    plugin: str
    listed: dict[str, int]
    found: dict[str, int]
    findings: dict[str, int] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)  # clip -> what its problem says
    served: dict[str, bytes] = field(default_factory=dict)
    linked: dict[str, bytes] = field(default_factory=dict)
    dropped: dict[str, bytes] = field(default_factory=dict)
    videos: dict[str, bytes] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)


class Clips:
    """Tiny videos as bytes; each is drawn and encoded once, and told apart by a number in a box that players skip."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, {}

    def mp4(self, number, seconds=1, sound=True):
        """A clip of so many seconds: of more than a second at 4 frames a second, else at 16."""
        frames = 16 if seconds == 1 else 4 * seconds
        wave = tone(seconds) if sound else None
        whole = self._once(
            f"{seconds}-{sound}.mp4", lambda path: media.write_video(path, moving_square(frames), frames / seconds, wave)
        )
        return whole + struct.pack(">I4sI", 12, b"free", number)

    def avi(self, number, sound=True):
        """A second as UCF101 has it: MPEG-4 and, where there is sound, MP2."""

        def encode(path):
            source = path.with_suffix(".mp4")
            source.write_bytes(self.mp4(0, sound=sound))
            how = {"vcodec": "mpeg4", "flags": "+bitexact", "fflags": "+bitexact", **({"acodec": "mp2"} if sound else {})}
            media.run_ffmpeg(ffmpeg.input(str(source)).output(str(path), **how))

        return self._once(f"{sound}.avi", encode) + struct.pack("<4sII", b"JUNK", 4, number)

    def wave(self, number, seconds):
        """A WAV file."""
        sound = tone(seconds, hertz=200 + number)
        return self._once(f"{number}-{seconds}.wav", partial(media.write_wave, wave=sound, rate=16_000))

    def _once(self, name, write):
        if name not in self.made:
            write(self.folder / name)
            self.made[name] = (self.folder / name).read_bytes()
        return self.made[name]


def zipped(members):
    """A .zip of names and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members):
    """A .tar.gz of names and bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def lines(*rows):
    """A text file of these lines."""
    return "".join(f"{row}\n" for row in rows).encode()


# --- classification ---------------------------------------------------------------------------------------------------

_HANDS, _EYES, _BALL = "HandstandPushups/v_HandStandPushups", "ApplyEyeMakeup/v_ApplyEyeMakeup", "Basketball/v_Basketball"


def ucf101(clips: Clips, url: Url) -> Miniature:
    """Three classes, two of them audible; a test clip is absent, one of these has no track, and one of the third has one."""
    names = label_spaces.read("ucf101").names
    used = {name: names.index(name.partition("/")[0]) + 1 for name in (_EYES, _BALL, _HANDS)}
    train = {f"{name}_g{g:02d}_c01.avi": k for name, k in used.items() for g in (8, 9, 10)}
    test = [f"{name}_g01_c01.avi" for name in used]
    of_split = {
        "trainlist0{}.txt": lines(*(f"{video} {k}" for video, k in train.items())), "testlist0{}.txt": lines(*test),
    }  # fmt: skip
    lists = {f"ucfTrainTestlist/{name.format(k)}": data for name, data in of_split.items() for k in (1, 2, 3)}
    lists["ucfTrainTestlist/classInd.txt"] = lines(*(f"{k} {name}" for k, name in enumerate(names, 1)))
    mute = {f"{_EYES}_g08_c01.avi", *(f"{_BALL}_g{g:02d}_c01.avi" for g in (1, 8, 10))}
    members = {f"UCF-101/{video}": clips.avi(k, video not in mute) for k, video in enumerate((*train, *test))}
    del members[f"UCF-101/{_BALL}_g01_c01.avi"]
    served = {"UCF101TrainTestSplits-RecognitionTask.zip": zipped(lists), "UCF101.rar": rar(members)}
    return Miniature(
        "ucf101", {"train": 6, "val": 3, "test": 3}, {"train": 6, "val": 3, "test": 2},
        {"no track": 1, "unexpected track": 1, "unavailable": 1},
        {f"UCF-101/{_BALL}_g01_c01": "missing"}, served, options={"val_groups": 1},
    )  # fmt: skip


def ucf101_c(clips: Clips, url: Url) -> Miniature:
    """The test clips under two corruptions, without sound, in the order of the shuffled lists; one file is empty."""
    names = label_spaces.read("ucf101").names
    members = {}
    for corruption in ("gauss", "contrast"):
        base = f"level_5_ucf_val_split_1_/{corruption}"
        for k, name in enumerate((_HANDS, _EYES)):
            members[f"{base}/{name}_g01_c01.mp4"] = clips.mp4(k, sound=False) if corruption == "gauss" or k else b""
        rows = [f"{base}/{name}_g01_c01.mp4 16 {names.index(name.partition('/')[0])}" for name in (_HANDS, _EYES)]
        members[f"list_video_perturbations_ucf/{corruption}_shuffled.txt"] = lines(*rows)
        members[f"list_video_perturbations_ucf/{corruption}.txt"] = lines(*reversed(rows))
    return Miniature(
        "ucf101_c", {"test": 2}, {"test": 1}, {"no track": 1, "unavailable": 1},
        {f"level_5_ucf_val_split_1_/contrast/{_HANDS}_g01_c01": "empty"},
        dropped={"UCF101-C.zip": zipped(members)}, options={"corruption": "contrast"},
    )  # fmt: skip


def _annotations(*rows):
    return lines("label,youtube_id,time_start,time_end,split,is_cc", *rows)


def kinetics_sounds(clips: Clips, url: Url) -> Miniature:
    """Archives of two parts, which hold clips of other classes as well; one clip is in none, a corrupt one is replaced."""
    train = {
        "AAAAAAAAAAA_000001_000011.mp4": clips.mp4(1), "CCCCCCCCCCC_000000_000010.mp4": b"not a video",
        "ZZZZZZZZZZZ_000000_000010.mp4": clips.mp4(3),
    }  # fmt: skip
    val = {"DDDDDDDDDDD_000127_000137.mp4": clips.mp4(4)}
    linked = {"train/part_0.tar.gz": tarred(train), "val/part_0.tar.gz": tarred(val)}
    served = {
        "annotations/train.csv": _annotations(
            "tap dancing,AAAAAAAAAAA,1,11,train,0", "tap dancing,BBBBBBBBBBB,5,15,train,0",
            "blowing nose,CCCCCCCCCCC,0,10,train,0",
            "abseiling,ZZZZZZZZZZZ,0,10,train,0",
        ),
        "annotations/val.csv": _annotations("blowing nose,DDDDDDDDDDD,127,137,validate,0"),
        **{f"k400_{part}_path.txt": lines(url(f"kinetics_sounds/{part}/part_0.tar.gz")) for part in ("train", "val")},
        "replacement_for_corrupted_k400.tgz": tarred(
            {f"replacement_for_corrupted_k400/{name}": clips.mp4(9) for name in ("CCCCCCCCCCC_000000_000010.mp4",)}
        ),
    }  # fmt: skip
    return Miniature(
        "kinetics_sounds", {"train": 3, "test": 1}, {"train": 2, "test": 1}, {"unavailable": 1},
        {"train/BBBBBBBBBBB_000005_000015": "missing"}, served, linked, options={"val_share": 0},
    )  # fmt: skip


def kinetics50(clips: Clips, url: Url) -> Miniature:
    """Clips that are fetched one by one, of which one was made private."""
    one, two = label_spaces.read("kinetics50").names[:2]
    served = {
        "annotations/train.csv": _annotations(f"{one},AAAAAAAAAAA,1,11,train,0", f"{two},BBBBBBBBBBB,5,15,train,0"),
        "annotations/val.csv": _annotations(f"{two},DDDDDDDDDDD,7,17,validate,0"),
    }
    videos = {"AAAAAAAAAAA_1_11": clips.mp4(1, 10), "DDDDDDDDDDD_7_17": clips.mp4(2, 10)}
    return Miniature(
        "kinetics50", {"train": 2, "test": 1}, {"train": 1, "test": 1}, {"unavailable": 1},
        {"train/BBBBBBBBBBB_000005_000015": "Private video"}, served, videos=videos,
        options={"val_share": 0, "fetch": "youtube"},
    )  # fmt: skip


def vggsound(clips: Clips, url: Url) -> Miniature:
    """A list without a header; of a video two clips are used, in two splits, another is gone."""
    bagpipes = [f"---1_cCGK4M,{start},playing bagpipes,{split}" for start, split in ((30, "train"), (50, "test"))]
    rows = [*bagpipes, '-0A_b-c_D_e,0,"bird chirping, tweeting",train']
    videos = {"---1_cCGK4M_30_40": clips.mp4(1, 10), "---1_cCGK4M_50_60": clips.mp4(2, 10)}
    return Miniature(
        "vggsound", {"train": 2, "test": 1}, {"train": 1, "test": 1}, {"leak": 1, "unavailable": 1},
        {"-0A_b-c_D_e_000000": "Private video"}, {"vggsound.csv": lines(*rows)}, videos=videos,
        options={"val_share": 0},
    )  # fmt: skip


def avmit(clips: Clips, url: Url) -> Miniature:
    """Lists and an archive, all given out by hand; a training clip is rated by too few, a test video is cut off."""
    test = lines(
        "filename,AVMIT_label,MIT_label,video_location,new_filename,tfrecord_filename",
        "swimming/yt-a_1.mp4,diving,swimming,training,diving/diving_1.mp4,a.tfrecord",
        "barking/yt-b_2.mp4,barking,barking,validation,barking/barking_1.mp4,b.tfrecord",
    )
    rated = lines(
        "filename,r1,r2,r3,AVMIT_label,MIT_label,video_location,tfrecord_filename",
        "barking/yt-c_3.mp4,0,0,3,barking,barking,training,c.tfrecord",
        "barking/yt-d_4.mp4,2,0,1,barking,barking,training,d.tfrecord",
        "swimming/yt-a_1.mp4,0,0,3,diving,swimming,training,a.tfrecord",
    )
    whole = clips.mp4(2, 3)
    videos = {
        "training/swimming/yt-a_1.mp4": clips.mp4(1, 3), "validation/barking/yt-b_2.mp4": whole[: len(whole) // 2],
        "training/barking/yt-c_3.mp4": clips.mp4(3, 3), "training/barking/yt-d_4.mp4": clips.mp4(4, 3),
    }  # fmt: skip
    dropped = {"test_set.csv": test, "video_ratings.csv": rated, "Moments_in_Time_Raw.zip": zipped(videos)}
    return Miniature(
        "avmit", {"train": 1, "test": 2}, {"train": 1, "test": 1}, {"unavailable": 1}, {"barking/yt-b_2": "undecodable"},
        dropped=dropped, options={"val_share": 0, "archives": ["Moments_in_Time_Raw.zip"]},
    )  # fmt: skip


def folder(clips: Clips, url: Url) -> Miniature:
    """A user's own, laid out already: one clip without a track, and one that is another's copy in another split."""
    rows = ("a/1.mp4,a,train", "a/2.mp4,a,test", "b/3.mp4,b,train", "b/4.mp4,b,test")
    videos = {"a/1.mp4": clips.mp4(1), "a/2.mp4": clips.mp4(1), "b/3.mp4": clips.mp4(3, sound=False), "b/4.mp4": clips.mp4(4)}
    return Miniature(
        "folder", {"train": 2, "test": 2}, {"train": 2, "test": 2}, {"leak": 1, "no track": 1},
        dropped={"labels.csv": lines("path,label,split", *rows), **videos}, options={"labels": "labels.csv"},
    )  # fmt: skip


# --- localisation, parsing, segmentation, answering -------------------------------------------------------------------


def ave(clips: Clips, url: Url) -> Miniature:
    """Lists without a header, as in the first archive; a video with samples in two splits, one cut off, one absent."""
    lists = {
        "trainSet.txt": ("Bark&---1_cCGK4M&good&2&5", "Church bell&RUhOCu3LNXM&good&0&10", "Bark&0qvQIuQoODo&good&0&3"),
        "valSet.txt": ("Truck&VWi2ENBuTbw&good&4&4",),
        "testSet.txt": ("Bark&0qvQIuQoODo&good&5&10", "Truck&gone-aaaaaa&good&0&2"),
    }
    texts = {name: lines(*rows) for name, rows in lists.items()}
    texts["Annotations.txt"] = lines(*(row for rows in lists.values() for row in rows))
    videos = {name: clips.mp4(k, 10) for k, name in enumerate(("---1_cCGK4M", "RUhOCu3LNXM", "0qvQIuQoODo", "VWi2ENBuTbw"))}
    videos["RUhOCu3LNXM"] = videos["RUhOCu3LNXM"][:900]
    members = {f"AVE_Dataset/{name}": data for name, data in texts.items()}
    members |= {f"AVE_Dataset/AVE/{name}.mp4": data for name, data in videos.items()}
    return Miniature(
        "ave", {"train": 3, "val": 1, "test": 2}, {"train": 2, "val": 1, "test": 1}, {"leak": 1, "unavailable": 2},
        {"AVE/RUhOCu3LNXM": "undecodable", "AVE/gone-aaaaaa": "missing"}, {"AVE_Dataset.zip": zipped(members)},
    )  # fmt: skip


def llp(clips: Clips, url: Url) -> Miniature:
    """The lists, features, and videos of which one is gone; the lists are not the published ones, whose checksums are known."""
    names = {"train": ("-a_b-c_d_e__10_20", "BjCEufrlXm4_20_30"), "val": ("CaC2xvdLC34_0_10",), "test": ("Gg3pK71kApY_30_40",)}
    weak, dense = "filename\tevent_labels", "filename\tonset\toffset\tevent_labels"
    files = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}
    lists = {files[split]: lines(weak, *(f"{name}\tSpeech,Dog" for name in own)) for split, own in names.items()}
    judged = (*names["val"], *names["test"])
    lists["AVVP_eval_audio.csv"] = lines(dense, *(f"{name}\t2\t6\tDog" for name in judged), f"{judged[1]}\t10\t10\tSpeech")
    lists["AVVP_eval_visual.csv"] = lines(dense, *(f"{name}\t0\t10\tDog" for name in judged))
    every = [name for own in names.values() for name in own]
    features = {f"CLIP/features/{name}.npy": _array(np.full((10, 768), k, np.float32)) for k, name in enumerate(every)}
    served = {**lists, "CLIP.zip": zipped(features), "CLAP.zip": zipped({"CLAP/features/x.npy": _array(np.zeros((10, 512)))})}
    return Miniature(
        "llp", {"train": 2, "val": 1, "test": 1}, {"train": 1, "val": 1, "test": 1}, {"unavailable": 1},
        {"videos/-a_b-c_d_e__10_20": "Private video"}, served,
        videos={name: clips.mp4(k, 10) for k, name in enumerate(every) if k},
        checksums={name: hashlib.sha256(data).hexdigest() for name, data in lists.items()},
        options={"fetch_videos": True, "fetch_features": True},
    )  # fmt: skip


def _array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _image(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _palette(inside):
    """An image in palette mode, as the masks of MS3 are."""
    image, buffer = Image.fromarray(inside.astype(np.uint8), "P"), io.BytesIO()
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(buffer, format="PNG")
    return buffer.getvalue()


_INSIDE = np.arange(32)[:, None] * np.ones(32) < 8  # of a mask: its upper quarter


def _picture(k):
    return _image(np.full((32, 32, 3), 40 * k, np.uint8))


def avsbench_s4(clips: Clips, url: Url) -> Miniature:
    """Single sources; of the training clip one frame has a mask; a test clip has no sound file, another lacks a frame."""
    dog, lion = "dog_barking", "lions_roaring"
    rows = [("_5J_e46eZrA_0_5000", dog, "train"), ("b-c_5_10", dog, "test"), ("d_0_5000", lion, "test")]
    members = {"s4_meta_data.csv": lines("name,ytb_id,category,split", *(f"{n},{n[:-7]},{c},{s}" for n, c, s in rows))}
    for k, (name, category, split) in enumerate(rows):
        place = f"{split}/{category}/{name}"
        for second in range(1, 6):
            members[f"s4_data/visual_frames/{place}/{name}_{second}.png"] = _picture(second + k / 10)
        for second in range(1, 2 if split == "train" else 6):
            members[f"s4_data/gt_masks/{place}/{name}_{second}.png"] = _image(_INSIDE)
        if category != lion:
            members[f"s4_data/audio_wav/{place}.wav"] = clips.wave(k, 5)
    del members["s4_data/visual_frames/test/dog_barking/b-c_5_10/b-c_5_10_5.png"]
    return Miniature(
        "avsbench", {"train": 1, "test": 2}, {"train": 1, "test": 1}, {"no track": 1, "unavailable": 1},
        {"test/dog_barking/b-c_5_10": "missing"},
        dropped={"Single-source.zip": zipped({f"Single-source/{name}": data for name, data in members.items()})},
    )  # fmt: skip


def avsbench_ms3(clips: Clips, url: Url) -> Miniature:
    """Several sources, masks in palette mode for every second; two clips, all there."""
    rows = [("aaa_0_5000", "train"), ("bbb_5000_10000", "test")]
    members = {"ms3_meta_data.csv": lines("name,split", *(f"{name},{split}" for name, split in rows))}
    for k, (name, split) in enumerate(rows):
        for second in range(1, 6):
            members[f"ms3_data/visual_frames/{name}/{name}.mp4_{second}.png"] = _picture(second + k)
            members[f"ms3_data/gt_masks/{split}/{name}/{name}_{second}.png"] = _palette(_INSIDE)
        members[f"ms3_data/audio_wav/{split}/{name}.wav"] = clips.wave(k, 5)
    return Miniature(
        "avsbench", {"train": 1, "test": 1}, {"train": 1, "test": 1},
        dropped={"Multi-sources.zip": zipped({f"Multi-sources/{name}": data for name, data in members.items()})},
        options={"subset": "ms3"},
    )  # fmt: skip


def _question(video, number, text, values, answer, kind):
    return {
        "video_id": video, "question_id": number, "type": json.dumps(kind), "question_content": text,
        "templ_values": json.dumps(values), "question_deleted": 0, "anser": answer,
    }  # fmt: skip


def music_avqa(clips: Clips, url: Url) -> Miniature:
    """Questions about two recorded videos and a composed one, one of which is asked about in two splits and one is absent."""
    count, there = ("Audio", "Counting"), ("Audio-Visual", "Existential")
    asked = {
        "train": [_question("00000001", 1, "How many sounding <Object> in the video?", ["violin"], "two", count)],
        "val": [_question("va00000002", 2, "Is this sound from the <Object>?", ["cello"], "yes", there)],
        "test": [
            _question("00000001", 3, "How many sounding <Object> in the video?", ["cello"], "one", count),
            _question("00000004", 4, "Is this sound from the <Object>?", ["banjo"], "no", there),
        ],
    }
    real, made = "MUSIC-AVQA-videos-Real", "MUSIC-AVQA-videos-Synthetic"
    return Miniature(
        "music_avqa", {"train": 1, "val": 1, "test": 1}, {"train": 1, "val": 1, "test": 0}, {"unavailable": 1},
        {f"{real}/00000004": "missing"},
        {f"json/avqa-{split}.json": json.dumps(rows).encode() for split, rows in asked.items()},
        dropped={
            f"{real}.zip": zipped({f"{real}/00000001.mp4": clips.mp4(1, 20)}),
            f"{made}.zip": zipped({f"{made}/va00000002.mp4": clips.mp4(2, 20)}),
        },
    )  # fmt: skip


ALL: dict[str, Callable[[Clips, Url], Miniature]] = {
    make.__name__: make
    for make in (
        ucf101, ucf101_c, kinetics_sounds, kinetics50, vggsound, avmit, folder, ave, llp, avsbench_s4, avsbench_ms3, music_avqa
    )
}  # fmt: skip


# --- the outside world ------------------------------------------------------------------------------------------------

_FETCHER = """#!{python} -IS
import os, re, sys
told = sys.argv[1:]
out = told[told.index("--output") + 1].replace("%(ext)s", "mp4").replace("%%", "%")
start, end = re.fullmatch(r"[*]([0-9.]+)-([0-9.]+)", told[told.index("--download-sections") + 1]).groups()
video = told[-1].rpartition("v=")[2]
with open({log!r}, "a") as log:
    log.write(video + "\\n")
source = os.path.join({videos!r}, f"{{video}}_{{start}}_{{end}}")
if not os.path.exists(source):
    sys.exit(f"ERROR: [youtube] {{video}}: Private video. Sign in if you've been granted access to this video")
with open(source, "rb") as there, open(out, "wb") as here:
    here.write(there.read())
"""
_UNPACKER = """#!{python}
import sys, rarfile
rarfile.RarFile(sys.argv[-2]).extractall(sys.argv[-1])
"""


def fake_programs(folder: Path, videos: dict[str, bytes], unrar: bool) -> Path:
    """A folder with a `yt-dlp` that has these videos alone and, if wanted, an `unrar` for members that are stored.

    The ids that were asked for are in `asked.txt` beside the videos.
    """
    programs, shelf = folder / "programs", folder / "shelf"
    for made in (programs, shelf):
        made.mkdir(parents=True)
    for name, data in videos.items():
        (shelf / name).write_bytes(data)
    texts = {"yt-dlp": _FETCHER.format(python=sys.executable, log=str(folder / "asked.txt"), videos=str(shelf))}
    if unrar:
        texts["unrar"] = _UNPACKER.format(python=sys.executable)
    for name, text in texts.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    return programs
