"""Moving, textured objects drawn with NumPy: twelve classes of their own shape, texture and motion; colour only hints.

Everything is drawn from signed distances, so edges are smooth at any size. The picture plane is x, y in [-1, 1], y
down; an actor has its own axes u, v, in units of its radius. A canvas is float32 (C, T, H, W) in [0, 1]; a map is
(T, H, W) or broadcasts to it, and so do the values over time (T, 1, 1).
"""

import colorsys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating]  # float32 wherever it is large
Colour = tuple[float, float, float]
Event = tuple[str, int, int]  # class, first frame, frame after the last

_TEXELS = 128  # side of an actor's texture tile, a power of two
_BLOCK = 8  # frames drawn at a time
_TURN = 2 * np.pi
_DARK: Colour = (0.07, 0.07, 0.09)
_PALE: Colour = (0.96, 0.95, 0.92)


@dataclass(frozen=True)
class Palette:
    """Colours of an actor, drawn anew for every clip."""

    main: Colour
    second: Colour
    metal: Colour


@dataclass(frozen=True)
class Actor:
    """One moving object: the part of the canvas that it lives in, its clock, its place and its looks.

    `time` is in seconds (T, 1, 1); `x` (1, 1, W), `y` (1, H, 1) are those of the part; `pixel` is the width of a pixel
    in the picture plane; `centre` holds x and y over time; `light` is a unit vector.
    """

    canvas: Map
    x: Map
    y: Map
    pixel: float
    time: Map
    centre: tuple[Map, Map]
    radius: float
    palette: Palette
    tile: Map
    light: tuple[float, float, float]
    rng: np.random.Generator

    @property
    def edge(self) -> float:
        """Width of a pixel in the actor's units."""
        return self.pixel / self.radius

    def wave(self, low: float, high: float) -> Map:
        """Phase in rad (T, 1, 1) of an oscillation at a frequency drawn from [low, high] Hz, in either direction."""
        rate = self.rng.uniform(low, high) * self.rng.choice([-1.0, 1.0])
        return (_TURN * (rate * self.time + self.rng.uniform())).astype(np.float32)

    def axes(self, turn: Map | float = 0.0, dx: Map | float = 0.0, dy: Map | float = 0.0) -> tuple[Map, Map]:
        """Maps u, v turned by `turn` rad about the centre, which is moved by dx, dy (actor's units)."""
        return _rotated((self.x - self.centre[0]) / self.radius - dx, (self.y - self.centre[1]) / self.radius - dy, turn)

    def grain(self, u: Map, v: Map, scale: float = 1.0) -> Map:
        """Texture in about [-1, 1] that sticks to the axes u, v: nearest texel, about one a pixel at scale 1."""
        density = 1.0 / max(self.edge, 0.01) * scale
        column = (u * density).astype(np.int32) & (_TEXELS - 1)
        row = (v * density).astype(np.int32) & (_TEXELS - 1)
        return self.tile.ravel()[row * _TEXELS + column]

    def paint(self, distance: Map, colour: Colour | Map, shade: Map | float = 1.0, opacity: Map | float = 1.0) -> None:
        """Blend `colour`, times `shade`, into the canvas where `distance` (actor's units) is negative."""
        alpha = np.clip(0.5 - distance * np.float32(1 / self.edge), 0, 1)
        _blend(self.canvas, alpha * opacity, colour, shade)

    def shadow(self, distance: Map, strength: float = 0.35) -> None:
        """Darken the ground behind a silhouette, away from the light, with a soft edge."""
        height, width = distance.shape[-2:]
        dx, dy = (round(-component * 0.16 / self.edge) for component in self.light[:2])
        moved = np.full_like(distance, 9.0)
        moved[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = distance[
            :, max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
        ]
        alpha = np.clip(0.5 - moved * np.float32(1 / 0.3), 0, 1) * np.float32(strength)
        np.multiply(self.canvas, 1 - alpha, out=self.canvas)

    def sphere(self, u: Map, v: Map, radius: float = 1.0) -> tuple[Map, Map]:
        """Height z in [0, 1] of a ball over its disc, and its Lambert shade; u, v unturned."""
        z = np.sqrt(np.maximum(1 - (u * u + v * v) / np.float32(radius**2), 0))
        lx, ly, lz = (np.float32(component) for component in self.light)
        lit = u * (lx / np.float32(radius)) + v * (ly / np.float32(radius)) + z * lz
        return z, 0.42 + 0.72 * np.maximum(lit, 0)


# --- geometry: signed distances, negative inside ----------------------------------------------------------------------


def _rotated(u: Map, v: Map, turn: Map | float) -> tuple[Map, Map]:
    cos, sin = np.cos(turn, dtype=np.float32), np.sin(turn, dtype=np.float32)
    return cos * u + sin * v, cos * v - sin * u


def _disc(u: Map, v: Map, radius: Map | float) -> Map:
    return np.sqrt(u * u + v * v) - radius


def _ellipse(u: Map, v: Map, a: float, b: float) -> Map:
    return (np.sqrt((u / np.float32(a)) ** 2 + (v / np.float32(b)) ** 2) - 1) * np.float32(min(a, b))


def _box(u: Map, v: Map, half_u: Map | float, half_v: Map | float, corner: float = 0.0) -> Map:
    """A box, its corners cut rather than rounded by a true distance: cheap, and the difference is below a pixel."""
    du, dv = np.abs(u) - half_u, np.abs(v) - half_v
    flat = np.maximum(du, dv)
    return flat if corner == 0 else np.maximum(flat, (du + dv + np.float32(corner)) * np.float32(0.7071))


def _bar(u: Map, v: Map, top: float, bottom: float, half: float) -> Map:
    return _box(u, v - np.float32((top + bottom) / 2), half, (bottom - top) / 2)


def _heart(u: Map, v: Map) -> Map:
    """A heart with its tip at v = 0.95 and its lobes at v = -0.75 (after Quilez, 2D distance functions)."""
    x, y = np.abs(u) / np.float32(1.55), (0.95 - v) / np.float32(1.55)
    lobe = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - np.float32(np.sqrt(2) / 4)
    along = 0.5 * np.maximum(x + y, 0)
    side = np.sqrt(np.minimum(x * x + (y - 1) ** 2, (x - along) ** 2 + (y - along) ** 2)) * np.sign(x - y)
    return np.where(x + y > 1, lobe, side) * np.float32(1.55)


def _wrapped(value: Map) -> Map:
    """The part of a value above its floor, in [0, 1]: many times as fast as `% 1`."""
    return value - np.floor(value)


def _stripes(phase: Map, sharpness: float = 4.0) -> Map:
    """Soft stripes in [0, 1], one period in 2 pi."""
    return np.clip(0.5 + np.float32(sharpness) * np.sin(phase), 0, 1)


def _mix(first: Colour, second: Colour, share: Map) -> Map:
    """Colour (C, T, H, W) between two, by a map of shares of the second."""
    mixed = np.empty((3, *share.shape), np.float32)
    for channel, (a, b) in enumerate(zip(first, second, strict=True)):
        np.multiply(share, np.float32(b - a), out=mixed[channel])
        mixed[channel] += np.float32(a)
    return mixed


def _blend(canvas: Map, alpha: Map, colour: Colour | Map, shade: Map | float) -> None:
    """Lay a colour (C, ...), times `shade`, on the canvas (C, ..., H, W), in the box where `alpha` is not 0."""
    touched = alpha.reshape(-1, *alpha.shape[-2:]).max(0) > 0
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    if not len(rows):
        return
    box = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha, shade = alpha[box], _boxed(shade, box, alpha.shape)
    for channel in range(3):
        layer = canvas[channel][box]
        layer += alpha * (_boxed(colour[channel], box, canvas.shape[1:]) * shade - layer)


def _boxed(value: Map | float, box: tuple[Any, ...], shape: tuple[int, ...]) -> Map | float:
    return np.broadcast_to(value, shape)[box] if isinstance(value, np.ndarray) and value.size > 1 else value


def _tinted(colour: Colour, factor: float) -> Colour:
    return tuple(min(component * factor, 1.0) for component in colour)  # type: ignore[return-value]


# --- backgrounds and colours ------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, height: int, width: int, slope: float, stretch: float = 1.0) -> Map:
    """Noise (height, width) of unit deviation whose amplitude falls as 1 / frequency ** slope, as in nature."""
    fy = np.fft.fftfreq(height)[:, None] * stretch
    fx = np.fft.rfftfreq(width)[None]
    gain = (np.hypot(fy, fx) + 1.0 / max(height, width)) ** -slope
    gain[0, 0] = 0
    spectrum = gain * np.exp(1j * rng.uniform(0, _TURN, gain.shape))
    field = np.fft.irfft2(spectrum, (height, width))
    return (field / field.std()).astype(np.float32)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0), 1), min(max(value, 0), 1))


def _luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _palette(rng: np.random.Generator, ground: float, hue: float) -> Palette:
    """Draw an actor's colours, its main one set off from a ground of that mean luma; most are near `hue`."""
    near = rng.uniform() < 0.9
    for _ in range(20):
        drawn = rng.normal(hue, 0.05) if near else rng.uniform()
        main = _hsv(drawn, rng.uniform(0.5, 1.0), rng.uniform(0.35, 1.0))
        if abs(_luma(main) - ground) > 0.22:
            break
    lighter = _luma(main) < 0.45
    value = rng.uniform(0.75, 1.0) if lighter else rng.uniform(0.15, 0.45)
    second = _hsv(rng.uniform(), rng.uniform(0.1, 0.8), value)
    grey = rng.uniform(0.25, 0.8)
    return Palette(main, second, _hsv(rng.uniform(), 0.08, grey))


def _backdrop(rng: np.random.Generator, side: int) -> Map:
    """A still background (C, side, side): clouds, a horizon, lights out of focus, or brushed texture."""
    hue, light = rng.uniform(), rng.uniform(0.45, 1.0)
    low = _hsv(hue, rng.uniform(0.08, 0.4), light - rng.uniform(0.15, 0.4))
    high = _hsv(hue + rng.normal(0, 0.1), rng.uniform(0.03, 0.3), light)
    kind = rng.integers(4)
    stretch = rng.choice([0.15, 6.0]) if kind == 3 else 1.0
    share = 0.5 + 0.14 * _noise(rng, side, side, rng.uniform(1.1, 1.8), stretch)
    rows = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
    share = share + np.float32(rng.uniform(-0.35, 0.35)) * rows
    picture = _mix(low, high, np.clip(share, 0, 1))
    if kind == 1:
        level = rng.uniform(0.1, 0.6) + 0.05 * _noise(rng, 1, side, 1.5)
        soil = _hsv(rng.uniform(), rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.7))
        below = np.clip((rows - level) * side / 3, 0, 1)
        _blend(picture, below, soil, 1 + 0.16 * _noise(rng, side, side, 0.8))
    if kind == 2:
        _bokeh(rng, picture)
    return np.clip(picture, 0.02, 0.98)


def _bokeh(rng: np.random.Generator, picture: Map) -> None:
    side = picture.shape[-1]
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    for _ in range(int(rng.integers(6, 14))):
        x, y, radius = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.08, 0.25)
        distance = _disc(axis[None] - np.float32(x), axis[:, None] - np.float32(y), radius)
        colour = _hsv(rng.uniform(), rng.uniform(0.2, 0.6), 0.95)
        _blend(picture, np.clip(0.5 - distance * 18, 0, 1) * np.float32(rng.uniform(0.12, 0.4)), colour, 1.0)


def _drifted(picture: Map, dx: NDArray[np.float64], dy: NDArray[np.float64], size: int) -> Map:
    """Crops (C, T, size, size) of a still picture, its corner at dx, dy px (T,), bilinear below a pixel."""
    out = np.empty((3, len(dx), size, size), np.float32)
    for frame, (x, y) in enumerate(zip(dx, dy, strict=True)):
        column, row = int(x), int(y)
        a, b = np.float32(x - column), np.float32(y - row)
        patch = picture[:, row : row + size + 1, column : column + size + 1]
        rows = patch[:, :-1] * (1 - b) + patch[:, 1:] * b
        out[:, frame] = rows[..., :-1] * (1 - a) + rows[..., 1:] * a
    return out


def _lit(canvas: Map, rng: np.random.Generator) -> None:
    """Give the finished canvas its contrast, exposure, a gradient of light and a vignette, in place."""
    contrast = rng.uniform(0.85, 1.05)
    canvas *= np.float32(contrast)
    canvas += np.float32((1 - contrast) * 0.5)
    axis = np.linspace(-1, 1, canvas.shape[-1], dtype=np.float32)
    direction = rng.uniform(0, _TURN)
    slope = np.cos(direction) * axis[None] + np.sin(direction) * axis[:, None]
    vignette = axis[None] ** 2 + axis[:, None] ** 2
    canvas *= (rng.uniform(0.8, 1.1) * (1 + rng.uniform(0, 0.18) * slope - rng.uniform(0, 0.14) * vignette)).astype(np.float32)


# --- actors -----------------------------------------------------------------------------------------------------------


def _wheel(a: Actor) -> None:
    """Tyre with treads, rim and spokes, or a disc with holes; spins."""
    rng, (u0, v0) = a.rng, a.axes()
    u, v = _rotated(u0, v0, a.wave(0.25, 0.9))
    r, angle, count = np.sqrt(u * u + v * v), np.arctan2(v, u), int(rng.integers(5, 13))
    tread = 0.035 * _stripes(angle * int(rng.integers(26, 38)))
    tyre = np.abs(r - 0.84) - 0.16 + tread
    a.shadow(r - 1)
    if rng.uniform() < 0.4:
        a.paint(r - 0.75, a.palette.second, 0.9 + 0.12 * a.grain(u, v))
    lit = 0.35 * (u0 * a.light[0] + v0 * a.light[1])
    a.paint(tyre, _tinted(_DARK, rng.uniform(1.0, 3.5)), 1 + 0.5 * a.grain(u, v) + lit)
    a.paint(np.abs(r - 0.66) - 0.06, a.palette.metal, 1.1 + lit)
    sector = _TURN / count
    nearest = _wrapped(angle / np.float32(sector)) - 0.5
    spoke = r * np.abs(np.sin(nearest * np.float32(sector))) - rng.uniform(0.025, 0.4 / count)
    a.paint(np.maximum(spoke, r - 0.64), a.palette.main, 1.0 + 0.1 * a.grain(u, v))
    a.paint(r - rng.uniform(0.14, 0.2), a.palette.main, 0.85)
    a.paint(r - 0.08, a.palette.metal, 1.2)


def _ball(a: Actor) -> None:
    """A ball that bounces, is squashed on impact and rolls: its pattern turns with it in depth."""
    rng = a.rng
    beat = (a.wave(0.6, 1.2) / _TURN) % 1
    hop = 4 * beat * (1 - beat)
    height = rng.uniform(0.6, 0.9)
    squash = 1 + 0.22 * np.maximum(1 - hop * 4, 0)
    u, v = a.axes(0.0, 0.0, 0.55 - height * hop)
    u, v = u / squash, v * squash - (squash - 1)
    ground = _ellipse(*a.axes(0.0, 0.0, 1.5), 0.95, 0.16)
    a.paint(ground, _DARK, 1.0, 0.45 - 0.3 * hop)
    z, shade = a.sphere(u, v)
    pu, pv = _rotated(u, v, rng.uniform(0, _TURN))
    longitude = np.arctan2(pu, z + 1e-3) + a.wave(0.2, 0.6)
    style, parts = rng.integers(4), int(rng.integers(3, 6))
    pattern = _stripes(longitude * parts)
    if style == 1:
        pattern = np.abs(pattern - _stripes(pv * (2.0 * parts)))
    elif style == 2:
        pattern = np.maximum(_stripes(pv * 7 + 0.8), np.clip(6 - 60 * np.abs(np.sin(longitude)), 0, 1))
    elif style == 3:
        dots = np.sin(longitude * parts) * np.sin(pv * (2.2 * parts))
        pattern = np.clip(5 * np.abs(dots) - 2, 0, 1)
    a.paint(_disc(u, v, 1), _mix(a.palette.main, a.palette.second, pattern), shade * (1 + 0.07 * a.grain(pu, pv)))
    a.paint(_disc(u - 0.45 * a.light[0], v - 0.45 * a.light[1], 0.13), _PALE, 1.0, 0.65)


def _pendulum(a: Actor) -> None:
    """A rod with an engraved bob that swings from a bracket, before a clock's case or nothing."""
    rng = a.rng
    swing = rng.uniform(0.35, 0.62) * np.sin(a.wave(0.4, 0.9))
    u, v = a.axes(swing.astype(np.float32), 0.0, -1.15)
    u0, v0 = a.axes(0.0, 0.0, -1.15)
    if rng.uniform() < 0.8:
        case = _box(u0, v0 - 1.05, 1.1, 1.35, 0.2)
        a.shadow(case)
        wood = _stripes(a.grain(u0 * 0.2, v0 * 0.05) * 3 + u0 * 14, 0.25)
        a.paint(case, a.palette.second, 0.75 + 0.35 * wood)
        a.paint(np.abs(case + 0.1) - 0.025, a.palette.second, 0.5)
    bob, size = v - 1.55, rng.uniform(0.42, 0.55)
    a.shadow(np.minimum(_disc(u, bob, size), _bar(u, v, 0.0, 1.55, 0.05)))
    a.paint(_bar(u, v, 0.0, 1.6 + size, 0.05), a.palette.metal, 1 + 4 * u)
    r = _disc(u, bob, 0.0)
    rings = _stripes(r * rng.uniform(34, 48), 1.0)
    _, shade = a.sphere(u, bob, size * 1.15)
    a.paint(r - size, a.palette.main, shade * (0.8 + 0.35 * rings))
    a.paint(np.abs(r - size * 0.86) - 0.025, a.palette.second)
    a.paint(_box(u, bob - size - 0.12, 0.07, 0.08), a.palette.metal, 0.8)
    a.paint(_box(u0, v0 + 0.02, 0.3, 0.09, 0.05), a.palette.metal, 0.7)
    a.paint(_disc(u0, v0, 0.07), _DARK)


def _beat(a: Actor) -> None:
    """A heart that swells twice a beat, glossy, with veins or a rim."""
    rng = a.rng
    beat = (np.abs(a.wave(0.8, 1.6)) / _TURN) % 1
    pulse = np.exp(-(((beat - 0.2) / 0.08) ** 2)) + 0.6 * np.exp(-(((beat - 0.5) / 0.09) ** 2))
    swell = 1 / (0.86 + 0.2 * pulse)
    u, v = a.axes(float(rng.normal(0, 0.15)))
    u, v = u * swell, v * swell
    distance = _heart(u, v)
    a.shadow(distance)
    depth = np.clip(-distance * 2.2, 0, 1)
    shade = 0.6 + 0.5 * np.sqrt(depth) + 0.22 * (u * a.light[0] + v * a.light[1])
    a.paint(distance, a.palette.main, shade * (1 + 0.08 * a.grain(u, v)))
    a.paint(np.abs(distance + 0.14) - 0.035, a.palette.second, 1.0, 0.8)
    if rng.uniform() < 0.4:
        vein = np.abs(a.grain(u, v, 0.35)) * 0.25 - 0.03
        a.paint(np.maximum(vein, distance + 0.08), a.palette.main, 0.5, 0.7)
    for side, opacity in ((-1, 0.75), (1, 0.3)):
        tilted = _rotated(u - 0.42 * side, v + 0.36, 0.7 * side)
        a.paint(_ellipse(*tilted, 0.1, 0.2), _PALE, 1.0, opacity)


def _bird(a: Actor) -> None:
    """A bird in profile whose two feathered wings flap."""
    rng = a.rng
    facing, phase = rng.choice([-1.0, 1.0]), np.abs(a.wave(1.0, 2.2))
    path = 0.1 * np.sin(phase + 2.0)
    u, v = a.axes(float(rng.normal(0, 0.15)), 0.0, path)
    u = u * np.float32(facing)
    _wing(a, u, v, np.sin(phase - 0.5), 0.62)
    body = _ellipse(u, v, 0.6, 0.26)
    tail = np.maximum(np.abs(v + 0.03 + 0.12 * (u + 0.5)) + 0.32 * (u + 0.42), -u - 1.05)
    notch = _stripes(v * 40, 1.0)
    a.paint(tail, a.palette.main, 0.65 + 0.25 * notch)
    feathers = _stripes((u - 3 * v * v) * 22, 0.6) * _stripes(v * 26, 0.6)
    a.paint(body, _mix(a.palette.main, a.palette.second, np.clip(v * 5 - 0.3, 0, 1)), 0.8 + 0.25 * feathers - 0.4 * v)
    a.paint(np.maximum(np.abs(v + 0.2) + 0.45 * (u - 0.98), 0.6 - u), (0.95, 0.65, 0.15))
    a.paint(_disc(u - 0.58, v + 0.2, 0.21), a.palette.main, 0.95 - 0.5 * (v + 0.2))
    a.paint(_disc(u - 0.64, v + 0.24, 0.06), _PALE)
    a.paint(_disc(u - 0.65, v + 0.24, 0.035), _DARK)
    _wing(a, u, v, np.sin(phase), 1.0)


def _wing(a: Actor, u: Map, v: Map, flap: Map, shade: float) -> None:
    """A wing from the shoulder, foreshortened by `flap` in [-1, 1]; up is positive."""
    reach = np.where(flap >= 0, np.maximum(flap, 0.18), np.minimum(flap, -0.18) * 0.75) * 1.1
    along = (-0.06 - v) / reach  # 0 at the shoulder, 1 at the tip
    across = u - 0.08 + 0.45 * along * along
    fringe = 0.05 * _stripes(along * 24)
    width = 0.34 * np.sqrt(np.clip(1 - along, 0, 1)) + 0.02
    chord = np.abs(across) - width + fringe * (across < 0)
    distance = np.maximum(chord, np.maximum(-along, along - 1) * np.abs(reach))
    quills = _stripes(along * 24 + across * 6, 0.7)
    tip = np.clip((along - 0.55) * 6, 0, 1)
    a.paint(distance, _mix(a.palette.main, a.palette.second, tip), shade * (0.72 + 0.35 * quills))


def _car(a: Actor) -> None:
    """A car in profile on a road whose markings run past; its wheels turn."""
    rng = a.rng
    facing, speed = rng.choice([-1.0, 1.0]), rng.uniform(0.8, 2.0)
    run = (speed * a.time).astype(np.float32)
    u, v = a.axes(0.0, 0.0, 0.012 * np.sin(a.wave(4, 6)))
    _road(a, run * np.float32(facing))
    u = u * np.float32(facing)
    roof, lean, back = rng.uniform(0.42, 0.6), rng.uniform(0.25, 0.6), rng.uniform(0.5, 0.92)
    body = _box(u, v - 0.1, 1.0, 0.24, 0.12)
    cabin = np.maximum(np.maximum(-v - roof, v - 0.02), np.maximum(u + lean * (-v) - 0.42, -u + 0.2 * (-v) - back))
    a.shadow(np.minimum(body, cabin))
    shade = 0.95 - 0.55 * v + 0.06 * a.grain(u, v)
    a.paint(cabin, a.palette.main, shade)
    a.paint(body, a.palette.main, shade)
    pillar = 0.05 - np.abs(u + rng.uniform(0.05, 0.3))
    glint = _stripes((u - v) * 7 + 1.0, 0.4)
    a.paint(np.maximum(cabin + 0.08, pillar), (0.2, 0.27, 0.33), 0.6 + 1.3 * glint)
    if rng.uniform() < 0.6:
        a.paint(_box(u, v - 0.08, 0.97, rng.uniform(0.025, 0.07)), a.palette.second)
    a.paint(_box(u - 0.93, v - 0.05, 0.06, 0.06), (1.0, 0.95, 0.7))
    a.paint(_box(u + 0.95, v - 0.05, 0.04, 0.07), (0.85, 0.1, 0.1))
    a.paint(_box(u, v - 0.31, 0.96, 0.035), _DARK, 2.0)
    for place in (-0.57, 0.57):
        wu, wv = _rotated(u - np.float32(place), v - 0.34, run * 4)
        r = _disc(wu, wv, 0.0)
        a.paint(r - 0.25, _DARK)
        a.paint(r - 0.15, a.palette.metal, 0.7 + 0.5 * _stripes(np.arctan2(wv, wu) * 5, 1.0))
        a.paint(r - 0.04, _DARK)


def _road(a: Actor, run: Map) -> None:
    u, v = a.axes()
    ground = 0.42 - v
    a.paint(ground, _tinted(_DARK, a.rng.uniform(3, 6)), 1 + 0.12 * a.grain(u + run, v))
    dashes = np.maximum(np.abs(v - 0.85) - 0.05, 0.22 - np.abs(_wrapped(u + run) - 0.5))
    a.paint(dashes, _PALE, 0.9)


def _beacon(a: Actor) -> None:
    """A warning light: ribbed dome on a bolted base, its lamp turning or blinking with a glow."""
    rng = a.rng
    phase = a.wave(0.9, 1.8)
    u, v = a.axes(float(rng.normal(0, 0.06)))
    turning = rng.uniform() < 0.5
    lamp = np.clip(np.cos(phase), 0, 1) ** 2 if turning else np.clip(0.5 + 5 * np.sin(phase), 0, 1)
    spot = 0.4 * np.sin(phase) if turning else np.float32(0.0)
    flare = np.clip(1.0 - _disc(u, v + 0.1, 0.0) / 1.9, 0, 1) ** 2 * lamp * 0.75
    for channel in range(3):
        a.canvas[channel] += flare * np.float32(0.3 + 0.7 * a.palette.main[channel]) * (1 - a.canvas[channel])
    dome = np.maximum(_box(u, v - 0.25, 0.6, 0.45), -1.0 - v)
    cap = _ellipse(u, v + 0.2, 0.6, rng.uniform(0.45, 0.7))
    glass = np.minimum(dome, cap)
    base = np.maximum(_box(u, v - 0.78, 1.0, 0.24, 0.08), np.abs(u) + (0.5 - v) * 0.8 - 0.85)
    a.shadow(np.minimum(glass, base))
    ribs = _stripes(u * 34 / (0.35 + np.abs(np.cos(u))), 0.5)
    bulb = np.exp(-(((u - spot) / 0.28) ** 2) - ((v + 0.05) / 0.5) ** 2)
    shade = (0.5 + 0.2 * ribs) * (1 - 0.35 * np.abs(u)) + lamp * (0.35 + 0.9 * bulb)
    a.paint(glass, _mix(a.palette.main, _PALE, np.clip(lamp * bulb * 0.9, 0, 1)), shade)
    a.paint(_ellipse(u + 0.33, v + 0.2, 0.06, 0.28), _PALE, 1.0, 0.45)
    a.paint(base, a.palette.metal, 0.9 - 0.5 * (v - 0.78) + 0.1 * a.grain(u, v))
    a.paint(_box(u, v - 0.6, 0.72, 0.05), _DARK, 2.0)
    a.paint(_disc(np.abs(u) - 0.72, v - 0.84, 0.07), _DARK, 1.5)
    a.paint(_disc(np.abs(u) - 0.24, v - 0.84, 0.07), _DARK, 1.5)


def _flag(a: Actor) -> None:
    """Cloth on a pole that waves, more so away from the pole; bands, a cross, a disc or checks."""
    rng = a.rng
    facing, phase = rng.choice([-1.0, 1.0]), np.abs(a.wave(0.6, 1.3))
    number, height = rng.uniform(3.0, 5.5), rng.uniform(0.5, 0.68)
    u, v = a.axes(float(rng.normal(0, 0.08)))
    u = u * np.float32(facing) + 0.85
    ripple = number * u - phase
    free = np.clip(u / 1.7, 0, 1)
    w = v + 0.3 - 0.16 * free * np.sin(ripple) - 0.08 * free
    cloth = np.maximum(np.maximum(np.abs(w) - np.float32(height), -u), u - 1.72 - 0.05 * np.sin(ripple + 1))
    a.shadow(cloth)
    style, y = rng.integers(5), w / np.float32(height)
    if style == 0:
        pattern = _stripes(y * np.float32(rng.choice([4.7, 7.9])) + 1.57, 8)
    elif style == 1:
        pattern = _stripes(u * np.float32(rng.choice([5.5, 7.4])), 8)
    elif style == 2:
        pattern = np.clip(1 - 30 * (np.minimum(np.abs(y), np.abs(u - 0.62)) - 0.16), 0, 1)
    elif style == 3:
        pattern = np.clip(-30 * _disc(u - 0.86, w, height * 0.55), 0, 1)
    else:
        pattern = np.abs(_stripes(u * 9.2, 8) - _stripes(y * 6.28, 8))
    weave = 1 + 0.09 * a.grain(u, w)
    shade = (0.85 + 0.32 * free * np.cos(ripple)) * weave
    a.paint(cloth, _mix(a.palette.main, a.palette.second, pattern), shade)
    a.paint(_bar(u + 0.05, v, -0.98, 2.6, 0.055), a.palette.metal, 1 + 5 * (u + 0.05))
    a.paint(_disc(u + 0.05, v + 1.0, 0.11), a.palette.metal, 1.25)


def _bell(a: Actor) -> None:
    """A bell with engraved bands that swings from a yoke or by a handle, its clapper lagging behind."""
    rng = a.rng
    phase = a.wave(0.5, 1.1)
    swing = (rng.uniform(0.3, 0.6) * np.sin(phase)).astype(np.float32)
    u, v = a.axes(swing, 0.0, -0.75)
    hand = rng.uniform() < 0.35
    shoulder = np.sqrt(np.clip(1 - (1 - np.clip(v / 0.5, 0, 1)) ** 2, 0, 1))
    flare = np.clip(v / 1.5, 0, 1) ** 4
    half = np.float32(rng.uniform(0.42, 0.55)) * shoulder + np.float32(rng.uniform(0.28, 0.42)) * flare + 0.02
    bell = np.maximum((np.abs(u) - half) * 0.85, np.maximum(-v, v - 1.5))
    clapper = _disc(u - 0.25 * np.sin(phase - 1.2), v - 1.55, 0.17)
    a.shadow(bell)
    if hand:
        a.paint(_box(u, v + 0.35, 0.12, 0.42, 0.1), a.palette.second, 1 + 2.2 * u * a.light[0])
    else:
        a.paint(_disc(u, v + 0.08, 0.17), a.palette.metal)
        u0, v0 = a.axes(0.0, 0.0, -0.75)
        a.paint(_box(u0, v0 + 0.2, 0.75, 0.1, 0.06), a.palette.second, 0.8 + 0.15 * a.grain(u0 * 0.2, v0))
    a.paint(clapper, a.palette.metal, 0.6)
    round_ = u / half
    gloss = np.exp(-(((round_ - 0.5 * np.float32(np.sign(a.light[0]))) / 0.28) ** 2))
    shade = 0.95 - 0.5 * round_ * round_ + 0.35 * gloss + 0.07 * a.grain(u, v)
    a.paint(bell, a.palette.main, shade)
    for level in (0.42, 1.02, 1.12):
        a.paint(np.maximum(np.abs(v - np.float32(level)) - 0.03, bell), a.palette.main, 0.45 * shade)
    a.paint(np.maximum(1.36 - v, bell), a.palette.main, 1.2 * shade)


def _fan(a: Actor) -> None:
    """Three to five broad twisted blades that turn behind a still wire guard, on a stand."""
    rng = a.rng
    u0, v0 = a.axes(0.0, 0.0, -0.15)
    u, v = _rotated(u0, v0, a.wave(0.35, 1.1))
    r, angle, count = np.sqrt(u * u + v * v), np.arctan2(v, u), int(rng.integers(3, 6))
    a.shadow(r - 1)
    a.paint(_bar(u0, v0, 0.5, 2.4, 0.12), a.palette.metal, 0.9 + 2.5 * u0)
    a.paint(r - 0.97, a.palette.second, 0.5 + 0.1 * a.grain(u0, v0), 0.35)
    sector = np.float32(_TURN / count)
    turned = _wrapped((angle + np.float32(rng.choice([-0.8, 0.8])) * r) / sector) - 0.5
    half = np.float32(rng.uniform(0.24, 0.36)) * np.sqrt(np.clip(1.15 - r, 0, 1))
    blade = np.maximum((np.abs(turned) - half) * sector * r, np.maximum(r - 0.86, 0.12 - r))
    a.paint(blade, a.palette.main, 0.85 + 0.55 * turned / 0.5 + 0.06 * a.grain(u, v))
    radius = _disc(u0, v0, 0.0)
    wires = _stripes(np.arctan2(v0, u0) * int(rng.integers(14, 24)), 1.5)
    rings = np.abs(_wrapped(radius * np.float32(4.5)) - 0.5) / np.float32(4.5) - 0.012
    guard = np.clip(wires * 1.6 - 0.9, 0, 1) * (radius < 0.95) * (radius > 0.3)
    _blend(a.canvas, (0.4 * guard).astype(np.float32), a.palette.metal, 1.1)
    a.paint(np.maximum(rings, radius - 0.95), a.palette.metal, 1.2, 0.65)
    a.paint(np.abs(radius - 0.96) - 0.045, a.palette.metal, 1 + 0.4 * (u0 * a.light[0] + v0 * a.light[1]))
    a.paint(radius - 0.24, a.palette.second, 1.05 - 0.6 * radius)
    a.paint(_box(u0, v0 - 1.75, 0.75, 0.13, 0.06), a.palette.metal, 0.7)


def _leaves(a: Actor) -> None:
    """Veined leaves that sway, tumble and sink, each on a small canvas of its own."""
    rng, slim = a.rng, a.rng.uniform(0.46, 0.6)
    fall, begin = rng.uniform(0.3, 0.6), rng.uniform(0, 3)
    number = int(rng.integers(6, 9))
    for leaf in range(number):
        size = rng.uniform(0.36, 0.46) * a.radius / 0.5
        sway = a.wave(0.3, 0.6)
        lane = (leaf * 1.236 + rng.uniform(0, 0.4)) % 2 - 1
        x = (lane + 0.22 * np.sin(sway) + a.centre[0]).ravel()
        y = (begin + 3.0 * leaf / number + fall * rng.uniform(0.8, 1.3) * a.time).ravel() % 3.0 - 1.5
        turn = (rng.uniform(0, _TURN) + rng.uniform(0.4, 1.0) * np.sin(sway + 1)).astype(np.float32)
        tumble = 1 / (0.6 + 0.4 * np.abs(np.cos(a.wave(0.15, 0.5))))
        patch = _Patch.at(x, y, size, a.pixel, 1.2)
        _leaf(patch, a, turn, tumble, slim)
        patch.lay(a.canvas)


def _leaf(p: "_Patch", a: Actor, turn: Map, tumble: Map, slim: float) -> None:
    u, v = _rotated(p.u, p.v, turn)
    v = v * tumble
    side = np.abs(v)
    blade = (side - np.float32(slim) * (1 - u * u) * (1 + 0.45 * u)) * 0.7
    veins = _stripes((u - side * 1.3) * 26, 0.8)
    colour = a.palette.main if a.rng.uniform() < 0.65 else a.palette.second
    shade = a.rng.uniform(0.8, 1.15) * (0.82 + 0.25 * veins) * (0.85 + np.float32(0.25) * (v > 0))
    p.paint(blade - 0.06, _DARK, 1.0, 0.35, soft=8.0)
    p.paint(blade, colour, shade)
    p.paint(np.maximum(side - 0.03, np.maximum(u - 0.92, -u - 1.15)), _tinted(colour, 0.5))


def _bubbles(a: Actor) -> None:
    """Clear bubbles with bright rims that wobble and rise at speeds that grow with their size."""
    rng = a.rng
    tint: Colour = tuple(0.6 + 0.4 * component for component in a.palette.main)  # type: ignore[assignment]
    rise, begin, number = rng.uniform(0.35, 0.7), rng.uniform(0, 3), int(rng.integers(10, 15))
    for bubble in range(number):
        size = rng.uniform(0.18, 0.4) * a.radius / 0.5
        lane = (bubble * 1.236 + rng.uniform(0, 0.4)) % 2 - 1
        x = (lane + 0.06 * np.sin(a.wave(0.8, 1.6)) + a.centre[0]).ravel()
        y = 1.5 - (begin + 3.0 * bubble / number + rise * (0.6 + size * 2) * a.time).ravel() % 3.0
        p = _Patch.at(x, y, size, a.pixel, 1.08)
        wobble = 1 + 0.05 * np.sin(a.wave(1.5, 3.0))
        square = (p.u * wobble) ** 2 + (p.v / wobble) ** 2
        r = np.sqrt(square)
        p.paint(np.abs(r - 0.98) - 0.03, _DARK, 1.0, 0.3)
        p.paint(r - 0.96, tint, 1.0, 0.12 + 0.8 * np.square(np.square(np.minimum(square, 1))))
        p.paint(_ellipse(*_rotated(p.u + 0.38, p.v + 0.42, 0.8), 0.11, 0.24), _PALE, 1.0, 0.9)
        p.paint(_disc(p.u - 0.42, p.v - 0.45, 0.1), _PALE, 1.0, 0.6)
        p.lay(a.canvas)


@dataclass(frozen=True)
class _Patch:
    """A small square (T, n, n) that travels over the canvas: cheap where many small things move.

    Layers are painted into `colour` (C, T, n, n), multiplied by `cover` (T, n, n), and laid on the canvas at once.
    """

    u: Map
    v: Map
    edge: float
    corner: NDArray[np.int64]  # (T, 2): row and column of the patch on the canvas
    colour: Map
    cover: Map

    @classmethod
    def at(cls, x: NDArray[np.floating], y: NDArray[np.floating], radius: float, pixel: float, margin: float) -> "_Patch":
        """A patch about x, y (T,) that reaches `margin` radii; all in the picture plane's units."""
        half = int(np.ceil(radius * margin / pixel)) + 1
        middle = (np.stack([y, x], axis=1) + 1) / pixel - 0.5
        corner = np.round(middle).astype(np.int64) - half
        steps = np.arange(2 * half + 1)
        units = ((corner[..., None] + steps - middle[..., None]) * (pixel / radius)).astype(np.float32)
        shape = (len(x), len(steps), len(steps))
        u, v = np.broadcast_to(units[:, 1, None], shape), np.broadcast_to(units[:, 0, :, None], shape)
        return cls(u, v, pixel / radius, corner, np.zeros((3, *shape), np.float32), np.zeros(shape, np.float32))

    def paint(
        self, distance: Map, colour: Colour, shade: Map | float = 1.0, opacity: Map | float = 1.0, soft: float = 1.0
    ) -> None:
        """As `Actor.paint`, but the edge is `soft` pixels wide."""
        alpha = np.clip(0.5 - distance * np.float32(1 / self.edge / soft), 0, 1) * opacity
        _blend(self.colour, alpha, colour, shade)
        np.add(self.cover, alpha * (1 - self.cover), out=self.cover)

    def lay(self, canvas: Map) -> None:
        """Blend the patch into the canvas (C, T, H, W), frame by frame, cut at the frame's borders."""
        n, (height, width), rest = self.cover.shape[1], canvas.shape[2:], 1 - self.cover
        for frame, (row, column) in enumerate(self.corner.tolist()):
            top, left, bottom, right = max(row, 0), max(column, 0), min(row + n, height), min(column + n, width)
            if top >= bottom or left >= right:
                continue
            part = np.s_[frame, top - row : bottom - row, left - column : right - column]
            target = canvas[:, frame, top:bottom, left:right]
            target *= rest[part]
            target += self.colour[(slice(None), *part)]


DRAW: dict[str, Callable[[Actor], None]] = {
    "spinning_wheel": _wheel,
    "bouncing_ball": _ball,
    "flying_bird": _bird,
    "falling_leaves": _leaves,
    "driving_car": _car,
    "blinking_beacon": _beacon,
    "waving_flag": _flag,
    "ringing_bell": _bell,
    "rising_bubbles": _bubbles,
    "rotating_fan": _fan,
    "swinging_pendulum": _pendulum,
    "beating_heart": _beat,
}
CLASSES = tuple(DRAW)
OUTLINED = tuple(name for name in DRAW if name not in ("falling_leaves", "driving_car", "rising_bubbles"))  # one solid object
_PATCHED = ("falling_leaves", "rising_bubbles")  # their maps are small already

_FAR = 99.0
# radius at scale 1, as a share of half the frame; how far an actor reaches left and right, up and down, in radii; its
# favourite hue
_REACH = {
    "spinning_wheel": (0.58, 1.3, 1.3, 1.3, 0.75),
    "bouncing_ball": (0.52, 1.4, 1.9, 1.8, 0.33),
    "swinging_pendulum": (0.56, 1.7, 1.6, 1.5, 0.09),
    "beating_heart": (0.62, 1.3, 1.3, 1.3, 0.98),
    "flying_bird": (0.66, 1.4, 1.5, 1.5, 0.57),
    "falling_leaves": (0.55, _FAR, _FAR, _FAR, 0.23),
    "driving_car": (0.62, _FAR, 0.9, _FAR, 0.65),
    "blinking_beacon": (0.58, 1.9, 1.9, 1.9, 0.04),
    "waving_flag": (0.65, 1.5, 1.5, 2.8, 0.86),
    "ringing_bell": (0.6, 1.6, 1.7, 1.4, 0.14),
    "rising_bubbles": (0.5, _FAR, _FAR, _FAR, 0.5),
    "rotating_fan": (0.58, 1.3, 1.5, 2.2, 0.42),
}


def _actor(name: str, canvas: Map, start: int, fps: float, spread: float, rng: np.random.Generator) -> Actor:
    """Set an actor on `canvas`; `spread` in [-1, 1] moves it off the middle and shrinks it to leave room for others."""
    count, size = canvas.shape[1], canvas.shape[-1]
    time = ((start + np.arange(count)) / fps).astype(np.float32)[:, None, None]
    typical, aside, up, down, hue = _REACH[name]
    radius = typical * rng.uniform(0.9, 1.2) * (1 - 0.3 * abs(spread))
    drift = rng.uniform(-0.14, 0.14, 2)
    place = rng.uniform(-0.3, 0.3, 2) * (1 - radius) * (1 - 0.6 * abs(spread)) + np.array([0.5 * spread, 0.0])
    share = np.linspace(0, 1, count)[:, None, None]
    centre = tuple((place[k] + drift[k] * share).astype(np.float32) for k in range(2))
    axis = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    columns = _span(axis, centre[0], aside * radius, aside * radius)
    rows = _span(axis, centre[1], up * radius, down * radius)
    tilt, turn = rng.uniform(0.5, 1.1), rng.uniform(-2.6, -0.5)  # light falls from above
    light = (float(np.cos(turn) * np.sin(tilt)), float(np.sin(turn) * np.sin(tilt)), float(np.cos(tilt)))
    palette = _palette(rng, float(canvas.mean()), hue)
    tile = np.clip(_noise(rng, _TEXELS, _TEXELS, rng.uniform(0.5, 1.0)) * 0.6, -1.5, 1.5)
    part, x, y = canvas[:, :, rows, columns], axis[None, None, columns], axis[None, rows, None]
    return Actor(part, x, y, 2 / size, time, centre, radius, palette, tile, light, rng)


def _span(axis: Map, centre: Map, before: float, after: float) -> slice:
    """The pixels of an axis that an actor may touch at any time."""
    inside = np.flatnonzero((axis >= centre.min() - before) & (axis <= centre.max() + after))
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _perform(name: str, actor: Actor) -> None:
    """Draw an actor a few frames at a time, so that its maps stay in the processor's cache."""
    seed = int(actor.rng.integers(2**63))
    step = len(actor.time) if name in _PATCHED else _BLOCK
    for start in range(0, len(actor.time), step):
        block = slice(start, start + step)
        x, y = actor.centre
        DRAW[name](
            replace(
                actor,
                canvas=actor.canvas[:, block],
                time=actor.time[block],
                centre=(x[block], y[block]),
                rng=np.random.default_rng(seed),  # the same draws for every block
            )
        )


def render(events: tuple[Event, ...], count: int, fps: float, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a clip (T, H, W, 3) of `count` frames: each event's object is there from its first frame to its end.

    Several events share the frame side by side, each a little smaller; cars come first: a road hides what is below.
    """
    return render_with_outlines(events, count, fps, size, rng, ())[0]


def render_with_outlines(
    events: tuple[Event, ...], count: int, fps: float, size: int, rng: np.random.Generator, outlined: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a clip as `render` does, and show in which pixels of the frames `outlined` an event's object is what is seen.

    The outlines are (E, F, H, W): of events in their order, without shadows and what others hide.
    """
    side = int(size * 1.4)
    picture = _backdrop(rng, side)
    slack = side - size - 2
    begin, heading = rng.uniform(0.3, 0.7, 2) * slack, rng.uniform(-0.3, 0.3, 2) * slack
    path = begin[:, None] + heading[:, None] * np.linspace(0, 1, count)
    canvas = _drifted(picture, path[0], path[1], size)
    covers = np.zeros((len(events), len(outlined), size, size), np.float32)
    places = np.linspace(-1, 1, len(events)) if len(events) > 1 else np.zeros(len(events))
    for number in sorted(range(len(events)), key=lambda k: events[k][0] != "driving_car"):
        name, first, end = events[number]
        actor = _actor(name, canvas[:, first:end], first, fps, float(places[number]), rng)
        if len(outlined):
            _cover(name, actor, np.asarray(outlined) - first, covers, number)
        _perform(name, actor)
    _lit(canvas, rng)
    frames = (np.clip(canvas, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8).transpose(1, 2, 3, 0)
    return frames, covers > 0.5


def _cover(name: str, actor: Actor, wanted: NDArray[np.int64], covers: Map, number: int) -> None:
    """Put the opacity of an actor, in its frames `wanted`, into `covers` at `number`, and take it from what it hides.

    Painting mixes with what is below, so that a black and a white ground differ by what shines through.
    """
    there = (wanted >= 0) & (wanted < len(actor.time))
    frames, size = wanted[there], covers.shape[-1]
    top, left = (int(np.rint((axis.ravel()[0] + 1) * size / 2 - 0.5)) for axis in (actor.y, actor.x))
    shape = (3, len(frames), *actor.canvas.shape[2:])
    centre = (actor.centre[0][frames], actor.centre[1][frames])
    grounds = (np.zeros(shape, np.float32), np.ones(shape, np.float32))
    for ground in grounds:
        _perform(name, replace(actor, canvas=ground, time=actor.time[frames], centre=centre, rng=deepcopy(actor.rng)))
    opacity = np.clip(1 - (grounds[1] - grounds[0]).mean(0), 0, 1)
    covers[:, there, top : top + shape[2], left : left + shape[3]] *= 1 - opacity
    covers[number, there, top : top + shape[2], left : left + shape[3]] = opacity
