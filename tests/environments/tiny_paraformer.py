"""A Paraformer of 41,000 random weights, saved in FunASR's format; run by the Python of FunASR's environment.

python tiny_paraformer.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
import yaml
from funasr import AutoModel
from funasr.register import tables

CONFIGURATION = """
model: BiCifParaformer
model_conf:
  ctc_weight: 0.0
  lsm_weight: 0.1
  length_normalized_loss: true
  predictor_weight: 1.0
  predictor_bias: 1
  sampling_ratio: 0.75
encoder: SANMEncoder
encoder_conf:
  output_size: 16
  attention_heads: 2
  linear_units: 16
  num_blocks: 2
  dropout_rate: 0.0
  positional_dropout_rate: 0.0
  attention_dropout_rate: 0.0
  input_layer: pe
  pos_enc_class: SinusoidalPositionEncoder
  normalize_before: true
  kernel_size: 3
  sanm_shfit: 0
  selfattention_layer_type: sanm
decoder: ParaformerSANMDecoder
decoder_conf:
  attention_heads: 2
  linear_units: 16
  num_blocks: 2
  dropout_rate: 0.0
  positional_dropout_rate: 0.0
  self_attention_dropout_rate: 0.0
  src_attention_dropout_rate: 0.0
  att_layer_num: 2
  kernel_size: 3
  sanm_shfit: 0
predictor: CifPredictorV3
predictor_conf:
  idim: 16
  threshold: 1.0
  l_order: 1
  r_order: 1
  tail_threshold: 0.45
  smooth_factor2: 0.25
  noise_threshold2: 0.01
  upsample_times: 3
  use_cif1_cnn: false
  upsample_type: cnn_blstm
frontend: WavFrontend
frontend_conf:
  fs: 16000
  window: hamming
  n_mels: 80
  frame_length: 25
  frame_shift: 10
  dither: 0.0
  lfr_m: 7
  lfr_n: 6
tokenizer: CharTokenizer
tokenizer_conf:
  unk_symbol: <unk>
  split_with_space: true
  token_list: tokens.json
"""
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
tokens = ["<blank>", "<s>", "</s>", *"你好今天我们", "<unk>"]
(folder / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False))
(folder / "config.yaml").write_text(CONFIGURATION)
parts = {
    "framework": "pytorch",
    "task": "auto-speech-recognition",
    "model": {"type": "funasr"},
    "file_path_metas": {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": "tokens.json"},
    },
}
(folder / "configuration.json").write_text(json.dumps(parts))
torch.manual_seed(0)
assert AutoModel, "its import registers the classes"
configuration = yaml.safe_load(CONFIGURATION)
model = tables.model_classes.get(configuration["model"])(
    **{**configuration, **configuration["model_conf"]}, vocab_size=len(tokens), input_size=560
)
torch.save(model.state_dict(), folder / "model.pt")
