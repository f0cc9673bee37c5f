/* peer_tbb.cpp - oneTBB as a peer: task_arena::enqueue. */
#include "peers.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <memory>

static std::unique_ptr<tbb::global_control> limit;
static std::unique_ptr<tbb::task_arena> arena;
static peer_tiny_fn run_tiny;

extern "C" void peer_tbb_start(int workers, peer_tiny_fn tiny)
{
    run_tiny = tiny;
    limit = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                                  static_cast<size_t>(workers) + 1);
    arena = std::make_unique<tbb::task_arena>(workers, 0);
    arena->initialize();
}

extern "C" void peer_tbb_push(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        arena->enqueue([] { run_tiny(); });
}

extern "C" void peer_tbb_stop(void)
{
    arena.reset();
    limit.reset();
}
