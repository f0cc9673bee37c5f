/* peer_qt.cpp - Qt as a peer: a queued call for each event and receiver, to objects that live in
 * another thread. */
#include "peers.h"

#include <QCoreApplication>
#include <QObject>
#include <QThread>

#include <array>
#include <memory>
#include <vector>

extern "C" void peer_qt(const struct peer_run *run)
{
    static int argc = 1;
    static char name[] = "bench", *argv[] = {name, nullptr};
    static QCoreApplication application(argc, argv);
    std::vector<std::unique_ptr<QObject>> receivers;
    QThread thread;

    thread.start();
    for (uint32_t i = 0; i < run->handlers; i++) {
        receivers.push_back(std::make_unique<QObject>());
        receivers.back()->moveToThread(&thread);
    }
    for (uint32_t i = 0; i < run->events; i++) {
        const std::array<uint64_t, 6> event{i, 2, 3, 4, 5, 6};

        for (uint32_t h = 0; h < run->handlers; h++)
            QMetaObject::invokeMethod(
                receivers[h].get(), [run, h, event] { run->handle(h, event.data()); },
                Qt::QueuedConnection);
        run->keep(i + 1);
    }
    run->await(run->handlers, run->events);
    thread.quit();
    thread.wait();
}
