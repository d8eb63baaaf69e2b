"""The vocabulary of captions: names for what is heard, and ways round those names.

Every noun phrase stands without its article. A circumlocution (`ROUND_…`) never uses the plain word, so that a caption
made of circumlocutions alone tests whether an encoder knows what is meant. Phrases claim nothing that is not always
true of their genre, tempo class or mood.
"""

GENRES: dict[str, tuple[str, ...]] = {
    "techno": ("techno track", "techno beat", "techno tune", "piece of techno"),
    "house": ("house track", "house tune", "house groove", "piece of house music"),
    "drum and bass": ("drum and bass track", "drum and bass tune", "piece of drum and bass", "drum and bass roller"),
    "hip hop": ("hip hop beat", "hip hop instrumental", "hip hop track", "hip hop loop"),
    "lo-fi": ("lo-fi beat", "lo-fi track", "lo-fi tune", "lo-fi loop"),
    "rock": ("rock song", "rock tune", "rock track", "rock instrumental"),
    "heavy metal": ("heavy metal guitar riff", "heavy metal track", "heavy metal song", "metal riff"),
    "jazz": ("jazz tune", "jazz piece", "jazz number", "jazz recording"),
    "blues": ("blues song", "blues tune", "blues jam", "blues number"),
    "reggae": ("reggae song", "reggae tune", "reggae groove", "reggae track"),
    "funk": ("funk groove", "funk track", "funk tune", "funk jam"),
    "ambient": ("ambient piece", "ambient track", "ambient soundscape", "piece of ambient music"),
    "classical": ("classical piece", "classical composition", "piece of classical music", "classical melody"),
    "folk": ("folk song", "folk tune", "folk piece", "folk melody"),
    "country": ("country song", "country tune", "country number", "country track"),
    "bossa nova": ("bossa nova tune", "bossa nova piece", "bossa nova song", "bossa nova groove"),
}
ROUND_GENRES: dict[str, tuple[str, ...]] = {
    "techno": (
        "pounding industrial rave track", "hypnotic four-on-the-floor machine groove", "Berlin club workout",
        "mechanical dance floor stomper", "repetitive underground club track",
    ),
    "house": (
        "soulful Chicago club groove", "disco-descended dance floor groove", "bouncing four-on-the-floor party tune",
        "Ibiza dance floor tune", "chord-driven club groove",
    ),
    "drum and bass": (
        "breakneck jungle roller", "skittering breakbeat workout", "double-time breakbeat tune", "London jungle tune",
        "liquid breakbeat roller",
    ),
    "hip hop": (
        "head-nodding boom bap instrumental", "backing for a rapper", "New York street beat", "beat for an MC to rhyme over",
        "boom bap loop",
    ),
    "lo-fi": (
        "dusty study beat", "after-school study loop", "bedroom producer beat", "tape-worn beat to study to", "chilled-out homework beat",
    ),
    "rock": (
        "garage band song", "stadium anthem", "guitar band number", "amplified band jam", "song of an electric band",
    ),
    "heavy metal": (
        "headbanging wall of distortion", "thrashing chugging riff", "crushing high-gain riff", "palm-muted headbanger",
        "mosh pit riff",
    ),
    "jazz": (
        "swinging bebop number", "smoky nightclub combo tune", "late-night swing tune", "improvised-sounding combo piece",
        "New Orleans flavoured swing number",
    ),
    "blues": (
        "Mississippi delta shuffle", "twelve-bar style shuffle", "juke joint shuffle", "smoky roadhouse shuffle",
        "shuffle in the manner of a Chicago bar band",
    ),
    "reggae": (
        "Jamaican offbeat groove", "Kingston one-drop groove", "rootsy island groove", "skanking Caribbean tune",
        "easy-swaying Jamaican tune",
    ),
    "funk": (
        "syncopated seventies dance jam", "tight sixteenth-note groove", "James Brown style groove",
        "strutting syncopated jam", "syncopated dance vamp",
    ),
    "ambient": (
        "drifting soundscape", "beatless atmospheric texture", "floating meditative drone piece", "weightless sound bath",
        "spacious meditation background",
    ),
    "classical": (
        "recital piece", "chamber composition", "conservatory etude", "sonatina-like composition", "concert hall miniature",
    ),
    "folk": (
        "fireside ballad", "traditional acoustic ballad", "village tune from the old days", "rustic campfire song",
        "storytelling acoustic ballad",
    ),
    "country": (
        "Nashville twang tune", "honky-tonk number", "cowboy ride tune", "bluegrass-tinged barn dance",
        "Southern porch tune",
    ),
    "bossa nova": (
        "Brazilian lounge tune", "Rio beach cafe tune", "gently syncopated Brazilian song", "Ipanema cafe tune",
        "Latin lounge piece",
    ),
}  # fmt: skip

# Adjectives of the tempo classes, then ways to say them in a sentence "It …".
TEMPO_WORDS: dict[str, tuple[str, ...]] = {
    "slow": ("slow", "slow-paced", "slow tempo"),
    "medium": ("mid-tempo", "medium tempo", "medium-paced"),
    "fast": ("fast", "fast-paced", "fast tempo", "uptempo"),
}
ROUND_TEMPO_WORDS: dict[str, tuple[str, ...]] = {
    "slow": ("unhurried", "leisurely", "laid-back", "languid", "ambling"),
    "medium": ("moderate", "steady", "walking-pace", "strolling", "measured"),
    "fast": ("racing", "brisk", "rapid", "high-speed", "quick"),
}
TEMPO_CLAUSES: dict[str, tuple[str, ...]] = {
    "slow": ("has a slow tempo", "is played slowly", "moves at a slow pace"),
    "medium": ("has a medium tempo", "moves at a medium pace", "is played at a mid-tempo pace"),
    "fast": ("has a fast tempo", "is played fast", "moves at a fast pace"),
}
ROUND_TEMPO_CLAUSES: dict[str, tuple[str, ...]] = {
    "slow": ("takes its time", "has a laid-back pulse", "moves along without any hurry", "has a leisurely pulse", "ambles along languidly"),
    "medium": ("keeps a moderate pace", "goes along at a walking pace", "has a measured pulse", "neither rushes nor drags", "strolls along steadily"),
    "fast": ("races along", "has a rapid pulse", "moves at high speed", "rushes ahead briskly", "hurries along"),
}  # fmt: skip

MOODS: dict[str, tuple[str, ...]] = {
    "relaxing": ("relaxing", "soothing", "restful"),
    "peaceful": ("peaceful", "calm", "tranquil"),
    "dreamy": ("dreamy", "hazy", "otherworldly"),
    "mellow": ("mellow", "easygoing", "gentle"),
    "melancholic": ("melancholic", "sad", "wistful"),
    "nostalgic": ("nostalgic", "bittersweet", "longing"),
    "romantic": ("romantic", "tender", "loving"),
    "happy": ("happy", "joyful", "sunny"),
    "warm": ("warm", "heartfelt", "cosy"),
    "groovy": ("groovy", "infectious", "swaggering"),
    "playful": ("playful", "lighthearted", "whimsical"),
    "dark": ("dark", "ominous", "gloomy"),
    "mysterious": ("mysterious", "enigmatic", "eerie"),
    "moody": ("moody", "brooding", "pensive"),
    "energetic": ("energetic", "lively", "vigorous"),
    "aggressive": ("aggressive", "angry", "ferocious"),
    "uplifting": ("uplifting", "euphoric", "inspiring"),
    "intense": ("intense", "tense", "urgent"),
    "triumphant": ("triumphant", "heroic", "victorious"),
    "cheerful": ("cheerful", "merry", "upbeat"),
}

# Plain names first; the last ones are rarer. Singular ones take an article, plural and mass nouns do not.
INSTRUMENTS: dict[str, tuple[str, ...]] = {
    "sub bass": ("sub bass", "deep sub bass", "low-end rumble"),
    "synth bass": ("synth bass", "synthesizer bass line", "analog bass line"),
    "electric bass": ("electric bass", "bass guitar", "electric bass line"),
    "upright bass": ("upright bass", "double bass", "acoustic bass line"),
    "piano": ("piano", "grand piano", "acoustic piano"),
    "electric piano": ("electric piano", "Rhodes piano", "Rhodes keyboard"),
    "organ": ("organ", "Hammond organ", "drawbar organ"),
    "string pad": ("string pad", "string section", "sustained string ensemble"),
    "synth pad": ("synth pad", "synthesizer pad", "soft synth backdrop"),
    "synth stab": ("synth chord stab", "stabbing synthesizer chord", "synth stab"),
    "acoustic guitar": ("acoustic guitar", "unplugged guitar", "steel-string guitar"),
    "banjo": ("banjo", "twangy banjo", "five-string banjo"),
    "electric guitar": ("electric guitar", "clean electric guitar", "clean guitar"),
    "crunch guitar": ("crunchy electric guitar", "rhythm guitar", "overdriven guitar"),
    "distorted guitar": ("distorted guitar", "distorted electric guitar", "high-gain guitar"),
    "lead guitar": ("lead guitar", "soaring lead guitar", "singing lead guitar"),
    "brass section": ("brass section", "horn section", "group of brass"),
    "trumpet": ("trumpet", "bright trumpet", "solo trumpet"),
    "saxophone": ("saxophone", "sax", "tenor sax"),
    "flute": ("flute", "breathy flute", "airy flute"),
    "harmonica": ("harmonica", "mouth harp", "wailing harmonica"),
    "accordion": ("accordion", "squeezebox", "piano accordion"),
    "violin": ("violin", "fiddle", "solo violin"),
    "bell": ("synth bell", "chiming bell", "glassy bell"),
    "vibraphone": ("vibraphone", "shimmering vibraphone", "set of vibes"),
    "saw lead": ("synth lead", "saw synth lead", "buzzing synthesizer"),
    "square lead": ("square wave synth lead", "chiptune-like synth lead", "hollow synthesizer lead"),
    "synth arpeggio": ("synth arpeggio", "arpeggiated synth", "bubbling synthesizer arpeggio"),
}
KITS: dict[str, tuple[str, ...]] = {
    "drum machine": ("drum machine", "electronic drum beat", "four-on-the-floor drum machine"),
    "breakbeat drums": ("breakbeat", "chopped breakbeat", "rolling breakbeat"),
    "boom bap drums": ("boom bap drum beat", "dusty drum loop", "boom bap beat"),
    "rock drums": ("drum kit", "acoustic drum kit", "acoustic drum beat"),
    "metal drums": ("hard-hitting drum kit", "thundering drum kit", "pounding drum kit"),
    "funk drums": ("tight drum kit", "syncopated drum kit", "acoustic drum groove"),
    "brushed drums": ("soft drum kit", "brushed drum kit", "light drum kit"),
    "hand percussion": ("percussion groove", "light percussion beat", "shaker and hand percussion groove"),
}
# Leads of which one says "a … melody".
MELODISTS = (
    "piano", "violin", "flute", "trumpet", "saxophone", "harmonica", "accordion", "vibraphone", "organ", "electric guitar",
)  # fmt: skip
LEAD_VERBS = ("plays the melody", "carries the tune", "takes the lead", "states the theme")
# An arpeggio is no melody.
ARPEGGIO_VERBS = ("runs on top", "ripples over it", "keeps running")
BACKING = ("over", "on top of", "backed by", "accompanied by", "supported by")
# The last ones only where every player is named.
WITH = ("with", "featuring", "that features", "built on", "played by")
PARTIAL_WITH = WITH[:3]
OPENINGS = ("", "", "this is ", "an instrumental recording of ", "one hears ", "the music is ")
NO_DRUMS = (
    "There are no drums.",
    "There is no percussion.",
    "It has no drums.",
    "It does without drums.",
    "No drums are heard.",
)
RAIN = ("with rain sounds", "with the sound of rain", "over falling rain", "with rain in the background")
RAIN_LAST = ("and rain sounds", "and the sound of rain", "over falling rain", "while rain falls")
RAIN_SENTENCES = (
    "Rain falls in the background.", "The sound of rain can be heard.", "Rain sounds accompany the music.",
    "Raindrops patter throughout.", "One hears a rain shower behind it.",
)  # fmt: skip
USES = {
    -1: ("It would suit a quiet evening.", "It could play in a spa.", "One could fall asleep to it.", "It suits a calm scene."),
    0: ("It could play in a cafe.", "It suits a road trip.", "It would fit a film scene.", "One could listen to it at home."),
    1: ("It would suit a workout.", "It could play in an action scene.", "It suits a chase scene.", "It could open a sports show."),
}  # fmt: skip
