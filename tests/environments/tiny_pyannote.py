"""A small pipeline of random weights, saved in pyannote's format; run by the Python of pyannote's environment.

python tiny_pyannote.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import pyannote.audio
import pytorch_lightning
import torch
import yaml
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import XVectorMFCC
from pyannote.audio.models.segmentation import PyanNet

folder = Path(sys.argv[1])
torch.manual_seed(0)
lstm = {"hidden_size": 8, "num_layers": 1, "bidirectional": True, "monolithic": True, "dropout": 0.0}
models = {
    "segmentation": PyanNet(sincnet={"stride": 10}, lstm=lstm, linear={"hidden_size": 8, "num_layers": 1}),
    "embedding": XVectorMFCC(dimension=16),
}
models["segmentation"].specifications = Specifications(
    problem=Problem.MONO_LABEL_CLASSIFICATION, resolution=Resolution.FRAME, duration=5.0, min_duration=None,
    warm_up=(0.0, 0.0), classes=["speaker#1", "speaker#2", "speaker#3"], powerset_max_classes=2,
    permutation_invariant=True,
)  # fmt: skip
models["embedding"].specifications = Specifications(
    problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, min_duration=None, classes=["a", "b"],
    permutation_invariant=False,
)  # fmt: skip
for name, model in models.items():
    model.build()
    (folder / name).mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": pytorch_lightning.__version__,
        "pyannote.audio": {
            "versions": {"torch": torch.__version__, "pyannote.audio": pyannote.audio.__version__},
            "architecture": {"module": type(model).__module__, "class": type(model).__name__},
            "specifications": model.specifications,
        },
    }
    torch.save(checkpoint, folder / name / "pytorch_model.bin")
(folder / "plda").mkdir(exist_ok=True)
lda = np.random.default_rng(0).standard_normal((16, 8))
np.savez(folder / "plda" / "xvec_transform.npz", mean1=np.zeros(16), mean2=np.zeros(8), lda=lda)
np.savez(folder / "plda" / "plda.npz", mu=np.zeros(8), tr=np.eye(8), psi=np.linspace(2, 1, 8))
parameters = {
    "clustering": "AgglomerativeClustering",
    **{name: f"$model/{name}" for name in ("segmentation", "embedding", "plda")},
}
configuration = {
    "version": "4.0.0",
    "dependencies": {"pyannote.audio": "4.0.0"},
    "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": parameters},
    "params": {
        "segmentation": {"min_duration_off": 0.0},
        "clustering": {"method": "centroid", "min_cluster_size": 2, "threshold": 0.7},
    },
}
(folder / "config.yaml").write_text(yaml.safe_dump(configuration))
