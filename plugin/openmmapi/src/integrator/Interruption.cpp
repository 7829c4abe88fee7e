#include "openmmkstep/internal/Interruption.h"
#include <utility>

namespace KStep {

namespace {

std::function<bool()> &currentQuestion() {
    static std::function<bool()> question;
    return question;
}

} // namespace

void Interruption::setQuestion(std::function<bool()> question) {
    currentQuestion() = std::move(question);
}

bool Interruption::isRequested() {
    return currentQuestion() && currentQuestion()();
}

} // namespace KStep
