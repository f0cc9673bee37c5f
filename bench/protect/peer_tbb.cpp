/* peer_tbb.cpp - oneTBB's arena with what it does unless told otherwise. */
#include "peers.h"

#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace {
std::atomic<int> running;

void enqueue(tbb::task_arena &arena, peer_job_fn job, peer_more_fn more)
{
    arena.enqueue([&arena, job, more] {
        job();
        if (more())
            enqueue(arena, job, more);
        else
            running--;
    });
}
} // namespace

extern "C" void peer_load_tbb(int in_flight, peer_job_fn job, peer_more_fn more)
{
    tbb::task_arena arena;

    running = in_flight;
    for (int i = 0; i < in_flight; i++)
        enqueue(arena, job, more);
    while (running > 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
}
