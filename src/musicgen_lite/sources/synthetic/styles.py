"""The genres as data: tempo, moods, instruments and the patterns each style is built from.

Rhythms are strings of sixteen steps, one bar of four beats:
- drums: `x` a hit, `X` an accent, `o` a soft hit, `.` nothing;
- bass and chords: `x` the whole chord, a letter of `TONES` a single tone of it, `-` holds, `.` rests;
- leads: `n` a note of the melody, `-` holds, `.` rests.
A progression holds, for each bar, the scale degrees (0 = tonic) of its chords, spread evenly over the bar.
Tempos are given as codec frames (20 ms) to the beat, so every bar starts on a frame: BPM = 3000 / frames.
"""

from dataclasses import dataclass

STEPS = 16
# Scale degrees above the chord's root: root, third, fifth, sixth, seventh, octave, tenth.
TONES = {"r": 0, "t": 2, "f": 4, "s": 5, "v": 6, "o": 7, "d": 9}

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Melodies keep to five of the seven tones, which fit every chord of the mode.
MELODY = {"major": (0, 1, 2, 4, 5), "minor": (0, 2, 3, 4, 6), "dorian": (0, 2, 3, 4, 6), "mixolydian": (0, 1, 2, 4, 5)}

# How a mood plays: -1 slower and softer, 0 as it comes, 1 faster and harder.
ENERGY = {
    "relaxing": -1, "peaceful": -1, "dreamy": -1, "mellow": -1, "melancholic": -1, "nostalgic": -1, "romantic": -1,
    "happy": 0, "warm": 0, "groovy": 0, "playful": 0, "dark": 0, "mysterious": 0, "moody": 0,
    "energetic": 1, "aggressive": 1, "uplifting": 1, "intense": 1, "triumphant": 1, "cheerful": 1,
}  # fmt: skip
BRIGHT_MODES = ("major", "mixolydian")

Progression = tuple[tuple[int, ...], ...]
Drums = dict[str, str]


@dataclass(frozen=True)
class Style:
    """What a genre chooses from. `moods` go with the bright modes first, with the minor ones second."""

    genre: str
    frames_per_beat: tuple[int, ...]
    modes: tuple[str, ...]
    moods: tuple[tuple[str, ...], tuple[str, ...]]
    progressions: tuple[Progression, ...]
    leads: tuple[str, ...]
    lead_rhythms: tuple[str, ...]
    chords: tuple[str, ...] = ()
    chord_rhythms: tuple[str, ...] = ()
    basses: tuple[str, ...] = ()
    bass_rhythms: tuple[str, ...] = ()
    kit: str = ""
    drums: tuple[Drums, ...] = ()
    voicing: str = "triad"  # triad or seventh
    swing: bool = False
    lead_chance: float = 0.85
    drums_chance: float = 1.0
    bass_chance: float = 0.95
    rain_chance: float = 0.0
    reverb: float = 0.15


SPARSE = ("n-------n-------", "n-----n-----n---", "n-----------n---", "....n-------n---", "n---------n-n---")
FLOWING = ("n---n---n---n---", "n---n-n-n---n---", "n-n-n---n-n-n---", "n-----n-n---n---", "n---n---n-n-n---")
BUSY = ("n-n-n-n-n-n-n-n-", "n-n-..n-n-..n-n-", "n-nnn-n-n-nnn-n-", "..n-n-n-..n-n-n-", "n-n-n-n-n---n-n-")
SYNCOPATED = ("n..n..n...n..n..", "n--n--n-n--n--n-", "..n--n--..n--n--", "n.nn..n.n..n.n..", "n-....n-..n-n-..")

PAD = ("x---------------",)
FOUR = "X...X...X...X..."
BACKBEAT = "....X.......X..."
OFFBEATS = "..x...x...x...x."
EIGHTHS = "x.o.x.o.x.o.x.o."
SIXTEENTHS = "xoxoxoxoxoxoxoxo"
ROCK = (
    {"kick": "X.......X.x.....", "snare": BACKBEAT, "closed hat": EIGHTHS},
    {"kick": "X.....x.X.......", "snare": BACKBEAT, "closed hat": EIGHTHS},
    {"kick": "X..x....X..x....", "snare": BACKBEAT, "ride": "x...x...x...x..."},
    {"kick": "X.x.....X.x.....", "snare": BACKBEAT, "open hat": "x...x...x...x..."},
)
BOOM_BAP = (
    {"kick": "X.....x...X.....", "snare": BACKBEAT, "closed hat": EIGHTHS},
    {"kick": "X..x......X..x..", "snare": BACKBEAT, "closed hat": EIGHTHS},
    {"kick": "X.x.......x.....", "snare": BACKBEAT, "closed hat": "x.x.x.xox.x.x.xo"},
)
BRUSHES = (
    {"ride": "x...x..ox...x..o", "rim": "....o.......o...", "kick": "o.......o......."},
    {"ride": "x...x..ox...x..o", "closed hat": "....x.......x...", "snare": "..........o....."},
    {"ride": "x...x...x...x..o", "closed hat": "....x.......x...", "kick": "o..............."},
)
HANDS = (
    {"shaker": EIGHTHS, "tom": "x.....x.x......."},
    {"shaker": "xoxoxoxoxoxoxoxo", "rim": "....x.......x..."},
    {"tom": "x..x..x.x..x..x.", "shaker": "..x...x...x...x."},
)
POP: tuple[Progression, ...] = (
    ((0,), (4,), (5,), (3,)),
    ((0,), (5,), (3,), (4,)),
    ((0,), (3,)),
    ((0,), (3,), (0,), (4,)),
)
LOOPS: tuple[Progression, ...] = (((0,),), ((0,), (5,)), ((0,), (6,)), ((0,), (3,)))
JAZZ: tuple[Progression, ...] = (((1,), (4,), (0,), (5,)), ((0, 5), (1, 4)), ((1, 4), (0,)), ((0,), (3,), (1,), (4,)))

_ALL = (
    Style(
        "techno", (20, 21, 22, 23, 24), ("minor", "dorian"),
        ((), ("energetic", "dark", "intense", "mysterious", "aggressive")), LOOPS,
        ("saw lead", "square lead", "synth arpeggio"), SYNCOPATED + BUSY[:2],
        ("synth pad", "synth stab"), ("x---------------", "..x...x...x...x.", "x..x..x...x.....", "x-....x-....x-.."),
        ("synth bass", "sub bass"), ("..r-..r-..r-..r-", ".rrr.rrr.rrr.rrr", "r.r.r.r.r.r.r.ro", "..ro..ro..ro..ro"),
        "drum machine",
        (
            {"kick": FOUR, "open hat": OFFBEATS, "clap": BACKBEAT},
            {"kick": FOUR, "closed hat": SIXTEENTHS, "clap": BACKBEAT},
            {"kick": FOUR, "open hat": OFFBEATS, "closed hat": "x.x.x.x.x.x.x.x.", "rim": "...x..x....x..x."},
            {"kick": FOUR, "shaker": SIXTEENTHS, "open hat": OFFBEATS},
        ),
        reverb=0.1,
    ),
    Style(
        "house", (23, 24, 25, 26), ("minor", "dorian", "major"),
        (("uplifting", "happy", "groovy", "warm"), ("groovy", "uplifting", "dreamy", "energetic")),
        (*POP[2:], ((0,), (5,), (2,), (6,)), ((0,), (3,))),
        ("saw lead", "vibraphone", "saxophone", "flute"), SYNCOPATED,
        ("piano", "electric piano", "organ", "string pad"),
        ("x..x..x...x..x..", "..x...x...x...x.", "x--x--x-..x--x--", "x...x..x..x.x..."),
        ("synth bass", "sub bass", "electric bass"), ("..r-..r-..r-..r-", "r--r--r-..o-..r-", "r.....r-..r-f-o-"),
        "drum machine",
        (
            {"kick": FOUR, "clap": BACKBEAT, "open hat": OFFBEATS},
            {"kick": FOUR, "clap": BACKBEAT, "open hat": OFFBEATS, "shaker": SIXTEENTHS},
            {"kick": FOUR, "snare": BACKBEAT, "closed hat": "x.xox.xox.xox.xo"},
        ),
        voicing="seventh",
    ),
    Style(
        "drum and bass", (17, 18, 19), ("minor", "dorian"),
        ((), ("energetic", "dark", "intense", "mysterious", "dreamy")), (*LOOPS, ((0,), (5,), (2,), (6,))),
        ("saw lead", "bell", "flute", "square lead"), SPARSE + FLOWING[:2],
        ("synth pad", "string pad", "electric piano"), (*PAD, "x-------..x-----"),
        ("sub bass", "synth bass"), ("r-----r---------", "r---..r-..o-----", "r--r----f---r---"),
        "breakbeat drums",
        (
            {"kick": "X.........X.....", "snare": BACKBEAT, "closed hat": EIGHTHS},
            {"kick": "X.x.......x.....", "snare": "....X..o.o..X..o", "closed hat": EIGHTHS},
            {"kick": "X.........X.....", "snare": "....X..o....X...", "ride": "x.x.x.x.x.x.x.x."},
        ),
        lead_chance=0.7,
    ),
    Style(
        "hip hop", (31, 32, 33, 34, 35, 36), ("minor", "dorian"),
        ((), ("groovy", "dark", "moody", "mellow", "aggressive")), LOOPS,
        ("bell", "flute", "violin", "trumpet", "square lead"), SYNCOPATED + SPARSE[:2],
        ("piano", "electric piano", "string pad", "brass section"), ("x-------x-------", "x--x--x---------", "x-....x-..x-...."),
        ("sub bass", "electric bass"), ("r-----r---o-----", "r--r......r-----", "r-----....r-f---"),
        "boom bap drums", BOOM_BAP, lead_chance=0.7,
    ),
    Style(
        "lo-fi", (34, 35, 36, 38, 40, 42), ("major", "dorian", "minor"),
        (("relaxing", "warm", "dreamy", "nostalgic", "mellow"), ("melancholic", "nostalgic", "dreamy", "relaxing", "moody")),
        JAZZ,
        ("piano", "vibraphone", "flute", "electric guitar", "saxophone"), SPARSE + FLOWING[:3],
        ("electric piano", "piano", "acoustic guitar"), ("x-------x-------", "x-----x---x-----", "x-----------x---"),
        ("upright bass", "sub bass", "electric bass"), ("r-------f-------", "r-----r-----f---", "r---------r-f---"),
        "boom bap drums", BOOM_BAP, "seventh", True, lead_chance=0.75, drums_chance=0.9, rain_chance=0.4,
    ),
    Style(
        "rock", (20, 21, 22, 23, 24, 25, 26, 28), ("major", "minor", "mixolydian"),
        (("energetic", "uplifting", "happy", "triumphant"), ("energetic", "intense", "dark", "moody")),
        (*POP, ((0,), (6,), (3,), (0,))),
        ("electric guitar", "lead guitar", "organ"), FLOWING + BUSY[:2],
        ("distorted guitar", "crunch guitar"), ("x-x-x-x-x-x-x-x-", "x-----x-x-------", "x--x--x-x--x--x-", "x---x-x---x-x-x-"),
        ("electric bass",), ("r-r-r-r-r-r-r-r-", "r-----r-r-----f-", "r---r-r---r-f-r-"),
        "rock drums", ROCK, lead_chance=0.7,
    ),
    Style(
        "heavy metal", (16, 17, 18, 19, 20, 22, 24), ("minor",), ((), ("aggressive", "dark", "intense", "energetic")),
        (((0,),), ((0,), (5,)), ((0,), (6,), (5,), (6,)), ((0,), (0,), (5,), (6,)), ((0, 6), (5, 6))),
        ("lead guitar",), BUSY + FLOWING[2:4],
        ("distorted guitar",),
        (
            "r-rrr-rrr-rrr-rr", "r.rr.rr.r.rr.t-v", "r---r-r-t---v---", "rrr.rrr.rrr.t-f-", "r-r-o-r-v-r-f-t-", "r.r.rrr.r.r.v-f-",
        ),
        ("electric bass",), ("r-rrr-rrr-rrr-rr", "r-r-r-r-r-r-r-r-", "r-----r-r-----r-"),
        "metal drums",
        (
            {"kick": "XxXxXxXxXxXxXxXx", "snare": BACKBEAT, "ride": "x...x...x...x..."},
            {"kick": "X.xxX.xxX.xxX.xx", "snare": BACKBEAT, "open hat": "x...x...x...x..."},
            {"kick": "X.x.X.x.X.x.X.x.", "snare": "..x...x...x...x.", "closed hat": "x.x.x.x.x.x.x.x."},
        ),
        lead_chance=0.35,
    ),
    Style(
        "jazz", (16, 18, 20, 22, 24, 27, 30, 36, 42), ("major", "dorian"),
        (("warm", "playful", "romantic", "mellow", "happy"), ("moody", "mellow", "mysterious", "romantic")), JAZZ,
        ("saxophone", "trumpet", "vibraphone", "piano", "flute"), BUSY[:4] + FLOWING[1:4],
        ("piano", "electric guitar", "organ"), ("x-....x-........", "..x-......x-....", "x-------..x-....", "......x-......x-"),
        ("upright bass",), ("r---t---f---s---", "r---f---o---f---", "r---t---f---t---"),
        "brushed drums", BRUSHES, "seventh", True, drums_chance=0.85,
    ),
    Style(
        "blues", (28, 30, 32, 34, 36, 40, 44, 48), ("mixolydian", "minor"),
        (("warm", "groovy", "playful", "mellow"), ("melancholic", "moody", "mellow")),
        (((0,), (3,), (0,), (4,)), ((0,), (3,)), ((0,), (0,), (3,), (0,)), ((0,), (4,), (3,), (0,))),
        ("electric guitar", "harmonica", "lead guitar", "piano"), FLOWING + BUSY[3:4],
        ("crunch guitar", "piano", "organ"), ("r-f-r-s-r-f-r-s-", "x---....x---....", "..x...x...x...x."),
        ("electric bass", "upright bass"), ("r---t---f---s---", "r-..r-..f-..s-..", "r-r-t-t-f-f-s-s-"),
        "rock drums", ROCK[:3], "seventh", True, drums_chance=0.9,
    ),
    Style(
        "reggae", (34, 35, 36, 38, 40, 42), ("major", "minor", "dorian"),
        (("relaxing", "happy", "warm", "mellow"), ("mellow", "groovy", "moody")), (*POP[:3], ((0,), (1,)), ((0,), (6,))),
        ("organ", "trumpet", "saxophone", "harmonica", "flute"), SYNCOPATED[1:3] + SPARSE[:3],
        ("crunch guitar", "organ", "piano"), ("..x...x...x...x.", "....x.......x...", "..x...xx..x...xx"),
        ("electric bass", "sub bass"), ("r-..r-t-f-......", "....r-r-t-f-r-..", "r---..f-r-..t-f-"),
        "rock drums",
        (
            {"kick": "........X.......", "rim": "........x.......", "closed hat": "x.xox.xox.xox.xo"},
            {"kick": FOUR, "rim": "........x.......", "closed hat": EIGHTHS},
            {"kick": "X.......X.......", "snare": "........x.......", "closed hat": OFFBEATS},
        ),
        lead_chance=0.7,
    ),
    Style(
        "funk", (25, 26, 27, 28, 29, 30, 31), ("dorian", "mixolydian"),
        (("groovy", "playful", "happy", "energetic"), ("groovy", "energetic", "playful")), (((0,),), ((0,), (3,)), ((0,), (0,), (3,), (3,))),
        ("brass section", "saxophone", "square lead", "organ"), SYNCOPATED,
        ("crunch guitar", "electric piano", "organ"), ("xx.xx.xx.xx.x.xx", "x..x..x...x.x...", "..xx..x...xx..x.", "....x..x....x..x"),
        ("electric bass", "synth bass"), ("r..r..o...r.v.o.", "r-.r..f...o.v.f.", "rr..o..r..v.r...", "r...r.o..r.rf.v."),
        "funk drums",
        (
            {"kick": "X.x...x...x..x..", "snare": "....X..o.o..X..o", "closed hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X..x..x.X.......", "snare": "....X..o....X.o.", "closed hat": SIXTEENTHS},
            {"kick": "X.x.......x.....", "snare": "....X..o.o..X...", "closed hat": "x.x.x.x.x.x.x...", "open hat": "..............x."},
        ),
        voicing="seventh", lead_chance=0.75,
    ),
    Style(
        "ambient", (36, 40, 44, 48, 50), ("major", "minor", "dorian"),
        (("relaxing", "peaceful", "dreamy", "warm"), ("mysterious", "dreamy", "dark", "melancholic")),
        (((0,), (3,)), ((0,), (5,)), ((0,), (4,)), ((0,), (2,))),
        ("bell", "piano", "flute", "violin", "vibraphone"), SPARSE,
        ("synth pad", "string pad"), PAD, ("sub bass",), ("r---------------",),
        voicing="seventh", bass_chance=0.4, rain_chance=0.4, reverb=0.5,
    ),
    Style(
        "classical", (20, 24, 27, 30, 33, 36, 40, 44, 48), ("major", "minor"),
        (("relaxing", "peaceful", "romantic", "playful", "triumphant"), ("melancholic", "romantic", "mysterious", "intense")),
        (((0,), (4,)), ((0,), (3,), (4,), (0,)), ((0,), (5,), (3,), (4,)), ((0,), (1,), (4,), (0,))),
        ("piano", "piano", "piano", "violin", "flute"), FLOWING + BUSY[:1],
        ("piano",), ("r-f-t-f-r-f-t-f-", "r-t-f-t-r-t-f-t-", "r-f-d-f-o-f-d-f-", "r---x---r---x---", "r---f---d---f---"),
        lead_chance=1.0, rain_chance=0.35, reverb=0.3,
    ),
    Style(
        "folk", (24, 26, 28, 30, 32, 34, 36), ("major", "minor", "mixolydian"),
        (("warm", "peaceful", "happy", "nostalgic"), ("melancholic", "nostalgic", "peaceful")), POP,
        ("flute", "violin", "harmonica", "accordion"), FLOWING,
        ("acoustic guitar",), ("r-f-o-f-r-f-d-f-", "x---x-x-..x-x-x-", "r-t-f-o-r-t-f-o-", "x---x---x---x-x-"),
        ("upright bass",), ("r-------f-------", "r-------r---f---"),
        "hand percussion", HANDS, drums_chance=0.4, bass_chance=0.5,
    ),
    Style(
        "country", (18, 20, 22, 24, 26, 28, 30), ("major", "mixolydian"),
        (("happy", "cheerful", "playful", "warm", "nostalgic"), ()), (*POP[1:], ((0,), (0,), (3,), (4,))),
        ("violin", "harmonica", "electric guitar", "banjo"), FLOWING + BUSY[:1],
        ("acoustic guitar", "banjo"), ("r-x-f-x-r-x-f-x-", "r-x-x-x-f-x-x-x-", "r-t-f-o-f-t-r-f-"),
        ("electric bass", "upright bass"), ("r-------f-------", "r---....f---....", "r-----r-f-----f-"),
        "rock drums",
        (
            {"kick": "X.......X.......", "snare": "....x.......x...", "closed hat": EIGHTHS},
            {"kick": "X...x...X...x...", "snare": "..x...x...x...x."},
        ),
        drums_chance=0.75,
    ),
    Style(
        "bossa nova", (21, 22, 23, 24, 26, 28, 30), ("major", "dorian"),
        (("relaxing", "romantic", "warm", "playful"), ("romantic", "nostalgic", "mellow")), JAZZ,
        ("flute", "saxophone", "vibraphone", "piano"), FLOWING + SYNCOPATED[1:3],
        ("acoustic guitar",), ("x-..x-..x-.x-...", "x--x--x---x--x--", "..x-..x-x-..x-..", "r-x-..x-f-x-..x-"),
        ("upright bass", "electric bass"), ("r-----f-f-----r-", "r-----r-f-----f-"),
        "hand percussion",
        (
            {"shaker": SIXTEENTHS, "rim": "x..x..x...x..x..", "kick": "x.....x.x.....x."},
            {"shaker": EIGHTHS, "rim": "x..x..x...x..x.."},
            {"shaker": SIXTEENTHS, "rim": "..x..x..x..x..x.", "kick": "x.......x......."},
        ),
        "seventh", drums_chance=0.85,
    ),
)  # fmt: skip

STYLES = {style.genre: style for style in _ALL}
