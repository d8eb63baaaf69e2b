from .common import SAMPLES, SCORE, fault, journal, read, write

fault("score")
journal("score")
samples = read(SAMPLES)
write(SCORE, {"clap": int(samples["audio"][:4], 16) / 65536, "temperature": samples["temperature"]})
