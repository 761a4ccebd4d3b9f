"""A tiny OpenAI-compatible server of a checkpoint, for tests of what talks to one; run as `vllm serve` is.

It answers by transformers' own `generate` and one plain forward pass a prompt, so what our decoding says is compared
with something else. As a program it takes vLLM's arguments; inside a test it is a thread.
"""

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "0.0.7"


class Standin(ThreadingHTTPServer):
    """`asked` has (path, body) of every POST. busy: statuses to answer the next POSTs with, before anything else."""

    daemon_threads = True

    def __init__(self, checkpoint: Path, name: str, port: int = 0, key: str | None = None, echoes: bool = True) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        super().__init__(("127.0.0.1", port), _Handler)
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.name, self.key, self.echoes = name, key, echoes
        self.version = VERSION
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.busy: list[int] = []
        self.one_at_a_time = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def complete(self, body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        import torch
        from transformers import GenerationConfig

        stops = {self.tokenizer.eos_token_id}
        stops |= {self.tokenizer.convert_tokens_to_ids(word) for word in body.get("stop", [])}
        config = GenerationConfig(
            do_sample=False, max_new_tokens=body["max_tokens"], eos_token_id=sorted(stops), pad_token_id=0
        )
        written = self.model.generate(torch.tensor([ids]), generation_config=config)[0, len(ids) :].tolist()
        ended = written[-1] in stops
        written = written[:-1] if ended else written
        choice: dict[str, Any] = {
            "index": 0,
            "text": self.tokenizer.decode(written, skip_special_tokens=True),
            "finish_reason": "stop" if ended else "length",
        }
        if "logprobs" in body:
            echoed = ids if body.get("echo") else []
            choice["logprobs"] = self._logprobs([*ids, *written], len(ids) - len(echoed))
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return {"object": "text_completion", "model": self.name, "choices": [choice], "usage": usage}

    def _logprobs(self, ids: list[int], start: int) -> dict[str, Any]:
        import torch

        with torch.inference_mode():
            scores = self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        chosen: list[Any] = [None, *(float(scores[place - 1, ids[place]]) for place in range(1, len(ids)))]
        best: list[Any] = [None]
        for place in range(1, len(ids)):
            value, token = scores[place - 1].max(-1)
            best.append({str(int(token)): float(value), str(ids[place]): chosen[place]})
        return {"tokens": ids[start:], "token_logprobs": chosen[start:], "top_logprobs": best[start:]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Standin

    def do_GET(self) -> None:
        if not self._let_in():
            return
        if self.path == "/v1/models":
            model = {"id": self.server.name, "owned_by": "standin", "max_model_len": 2048}
            self._reply(200, {"object": "list", "data": [model]})
        elif self.path == "/version":
            self._reply(200, {"version": self.server.version})
        else:
            self._reply(404, {"error": {"type": "NotFound"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._let_in():
            return
        if self.server.busy:
            self._reply(self.server.busy.pop(0), {"error": {"message": "busy"}})
            return
        self.server.asked.append((self.path, body))
        if body["model"] != self.server.name:
            self._reply(404, {"error": {"type": "NotFoundError"}})
        elif body.get("echo") and not self.server.echoes:
            self._reply(400, {"error": {"type": "BadRequestError", "message": "echo is not supported"}})
        elif len(body.get("prompt", [])) + body["max_tokens"] > 2048:
            self._reply(400, {"error": {"type": "BadRequestError", "message": "too long"}})
        elif self.path == "/v1/completions":
            with self.server.one_at_a_time:
                self._reply(200, self.server.complete(body, body["prompt"]))
        else:
            with self.server.one_at_a_time:
                template = self.server.tokenizer.apply_chat_template
                ids = template(body["messages"], add_generation_prompt=True, return_dict=False)
                done = self.server.complete({**body, "stop": ["<|im_end|>"]}, ids)
            text = done["choices"][0].pop("text")
            done["choices"][0]["message"] = {"role": "assistant", "content": text}
            self._reply(200, done)

    def _let_in(self) -> bool:
        if self.server.key is None or self.headers.get("authorization") == f"Bearer {self.server.key}":
            return True
        self._reply(401, {"error": {"type": "Unauthorized"}})
        return False

    def _reply(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[Any]:
    """A server that answers from a thread as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """`vllm serve <checkpoint> …`, or SGLang's `sglang serve --model-path <checkpoint> …`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--model-path", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    options, _ = parser.parse_known_args()
    if file := os.environ.get("STANDIN_STARTED"):
        Path(file).write_text(json.dumps({"pid": os.getpid(), "arguments": sys.argv[1:]}), encoding="utf-8")
    if os.environ.get("STANDIN_BREAKS"):
        sys.exit("no device is free")
    checkpoint = options.checkpoint or options.model_path
    server = Standin(checkpoint, options.served_model_name, options.port, os.environ.get("VLLM_API_KEY"))
    server.serve_forever()


if __name__ == "__main__":
    main()
