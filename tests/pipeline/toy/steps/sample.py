from .common import MODEL, PARAMS, SAMPLES, digest, journal, read, write

journal("sample")
write(SAMPLES, {"audio": digest([read(MODEL), PARAMS["sample"]]), **PARAMS["sample"]})
