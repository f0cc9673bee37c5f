#!/usr/bin/env python3
"""Plans beside the engine's own fit, which the real llama-fit-params computes on the same pretend cards."""
from e2e import RTX_3060, RTX_3090, Machine, case, check, check_equal, check_match, engine, json_of, main, model

PAIR = Machine(RTX_3090, RTX_3060)


@case("the plan is at least as fast as what the engine would do by itself")
def compare(box):
    for name in ("llama-3.1-8b", "qwen3-32b", "llama-3.1-70b"):
        result = box.run("plan", model(name), "--gpus", box.use(PAIR), "--engine", engine(), "--compare", "--json")
        check_equal(result.code, 0, "exit of plan")
        plan, default, fit = json_of(result)["comparison"]
        check_equal([row["what"] for row in (plan, default, fit)],
                    ["this plan", "the engine's default split", "the engine's own fit"], "rows")
        check_match(r"-c \d+ -ngl -?\d+", fit["flags"], "the engine's own fit")
        for row in (default, fit):
            check(row["judged"], f"{name}: {row['what']} could not be judged: {row.get('problem')}")
            if row["fits"]:
                check(plan["predicted"]["decode_tokens_per_second"] >= 0.999 * row["predicted"]["decode_tokens_per_second"],
                      f"{name}: {row['what']} decodes faster than the plan")


main()
