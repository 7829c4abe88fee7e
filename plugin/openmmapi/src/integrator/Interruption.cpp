#include "openmmkstep/internal/Interruption.h"
#include <utility>

namespace KStep {

namespace {

std::shared_ptr<Interruption::Listener> &currentListener() {
    static std::shared_ptr<Interruption::Listener> listener;
    return listener;
}

} // namespace

void Interruption::setListener(std::shared_ptr<Listener> listener) {
    currentListener() = std::move(listener);
}

bool Interruption::isRequested() {
    return currentListener() && currentListener()->isRequested();
}

bool Interruption::isRaisedAtReturn() {
    return currentListener() && currentListener()->isRaisedAtReturn();
}

Interruption::Watch::Watch() : listener(currentListener()) {
    if (listener)
        listener->begin();
}

Interruption::Watch::~Watch() {
    if (listener)
        listener->end();
}

} // namespace KStep
