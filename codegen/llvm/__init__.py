"""LOOPS to machine code by LLVM: schedules from a cost model, memory, text, compilation."""
