# People type make; the work is in ./dev.
VERBS := setup build run test bench asan tsan fuzz lint cover man install
.PHONY: all $(VERBS)
all: build
$(VERBS):
	@./dev $@
