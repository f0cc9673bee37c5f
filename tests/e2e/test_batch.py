#!/usr/bin/env python3
"""Token lengths of request files: by the model's vocabulary, by a running engine, on one CPU and on several."""
import json
import signal

from e2e import case, check, check_equal, check_match, engine, free_port, json_of, main, model

PROMPTS = ["Why do two cards make a happy machine?", "def f(x):\n    return x ** 2  # it's  squared", "naïve 中文 😀 1234567",
           "   odd   spacing\t", "<|im_end|> stays", "x"]


def jsonl(prompts):
    lines = [json.dumps({"prompt": prompt}, ensure_ascii=False) for prompt in prompts]
    return "\n".join(lines) + "\n"


def analysed(box, *words):
    result = box.run("batch", *words, "--json")
    check_equal(result.code, 0, "exit of batch: " + result.err[-300:])
    return json_of(result)


@case("the vocabulary counts what the engine counts")
def vocabulary_and_engine(box):
    port = free_port()
    server = box.start(engine(), "-m", model(), "--port", port, "--host", "127.0.0.1", "-np", "1", "-t", "1", "--no-warmup", "--offline")
    server.wait_for("listening on")
    for number, prompt in enumerate(PROMPTS):
        path = box.file(f"one{number}.jsonl", jsonl([prompt]))
        ours = analysed(box, path, "--model", model())
        theirs = analysed(box, path, "--engine-url", f"http://127.0.0.1:{port}")
        check_equal(ours["prompt_tokens"]["max"], theirs["prompt_tokens"]["max"], repr(prompt))
        check_equal(ours["lengths"], "exact", "lengths")
        check_match("engine at", theirs["tokenizer"], "what counted")
    server.signal(signal.SIGKILL)  # it has nothing to save
    server.finish()


@case("many blocks, counted in parallel, are the same as one by one")
def parallel(box):
    few = analysed(box, box.file("few.jsonl", jsonl(PROMPTS * 10)), "--model", model())
    many = analysed(box, box.file("many.jsonl", jsonl(PROMPTS * 20000)), "--model", model())
    check_equal(many["count"], few["count"] * 2000, "requests")
    check_equal(many["prompt_tokens"]["sum"], few["prompt_tokens"]["sum"] * 2000, "tokens")


@case("bad lines are counted and named, texts without a model are an estimate")
def estimate(box):
    path = box.file("mixed.jsonl", jsonl(PROMPTS[:2]) + "{broken\n" + jsonl(PROMPTS[2:3]))
    found = analysed(box, path)
    check_equal(found["lengths"], "estimate", "lengths")
    check_equal((found["count"], found["bad_lines"], found["bad"][0]["line"]), (3, 1, 3), "requests, bad lines, which")


@case("an engine that does not answer is a failure with its address")
def nobody(box):
    path = box.file("one.txt", "hello\n")
    result = box.run("batch", path, "--engine-url", f"http://127.0.0.1:{free_port()}")
    check_equal(result.code, 1, "exit")
    check(len(result.err) > 20, result.err)


main()
