"""ONNX Runtime on what PyTorch exports; see torch_side.py."""
import io
import os

import onnxruntime
import torch

from torch_models import SentenceEncoder, sentence_inputs


def to_numpy(results):
    return results


def sentences(inputs, _):
    arguments, file = sentence_inputs(inputs), io.BytesIO()
    torch.onnx.export(SentenceEncoder(inputs).eval(), arguments, file, input_names=["ids", "mask"],
                      output_names=["vectors"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    given = {"ids": arguments[0].numpy(), "mask": arguments[1].numpy()}
    return lambda: {"vectors": session.run(["vectors"], given)[0]}


KINDS = {"sentences": sentences}
