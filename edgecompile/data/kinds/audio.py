"""A folder of .wav files, prepared as the model's preprocessor_config.json says."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecompile.data.feed import Feed
from edgecompile.data.preprocessor import read_preprocessor
from edgecompile.data.source import Kind, Request, Source
from edgecompile.data.wav import read_wav
from edgecompile.data.waveforms import read_extractor


def open_audio(path: Path, files: Sequence[Path], request: Request) -> Source:
    """Open a folder of .wav files."""
    file = read_preprocessor(request.folder, "sound")
    extractor = read_extractor(file, request.signature)
    dtypes = {name: wanted.dtype for name, wanted in request.signature.inputs.items()}

    def feeds(start: int, stop: int) -> Iterator[Feed]:
        for wav in files[start:stop]:
            features = extractor.extract(read_wav(wav, extractor.rate_hz, extractor.seconds))
            typed = {n: a.astype(dtypes[n] or a.dtype, copy=False) for n, a in features.items()}
            yield request.signature.check(str(wav), typed)

    return Source("audio", path, lambda n: min(n, len(files)), feeds, files, file.path)


KIND = Kind("audio", "a folder of sound (.wav)", open_audio, (".wav",), folder=True)
