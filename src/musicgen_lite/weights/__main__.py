"""`python -m musicgen_lite.weights`: record the sha256 of the shipped models' files."""

from musicgen_lite.weights import seal

if __name__ == "__main__":
    for model, files in seal().items():
        print(model, *files)
