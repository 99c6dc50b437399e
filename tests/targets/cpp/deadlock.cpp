// SPDX-License-Identifier: Apache-2.0
// Two threads that want each other's std::mutex: "payer" in Bank::pay(), "auditor" in Bank::audit(). `deadlock [SECONDS [AFTER]]`; it
// happens AFTER seconds (0) after the start; the line, printed then, has "threads":[{"name","tid"}] and "locks":[address]: payer has the first one and waits for the second.
#include "truth.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace {

void meet(std::atomic<int> &there)
{
	there++;
	while (there < 2)
		std::this_thread::yield();
}

class Bank {
public:
	std::mutex accounts, journal;
	std::atomic<int> payer{0}, auditor{0};

	[[gnu::noinline]] void pay()
	{
		std::lock_guard<std::mutex> hold(accounts);
		meet(there);
		write();
		__asm__ volatile("");
	}

	[[gnu::noinline]] void audit()
	{
		std::unique_lock<std::mutex> hold(journal);
		meet(there);
		read();
		__asm__ volatile("");
	}

private:
	std::atomic<int> there{0};

	[[gnu::noinline]] void write()
	{
		std::lock_guard<std::mutex> hold(journal);
		__asm__ volatile("");
	}

	[[gnu::noinline]] void read()
	{
		std::lock_guard<std::mutex> hold(accounts);
		__asm__ volatile("");
	}
};

Bank bank;

} // namespace

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 3600);

	if (argc > 2)
		std::this_thread::sleep_for(std::chrono::duration<double>(std::atof(argv[2])));

	std::thread([] {
		prctl(PR_SET_NAME, "payer");
		bank.payer = (int)syscall(SYS_gettid);
		bank.pay();
	}).detach();
	std::thread([] {
		prctl(PR_SET_NAME, "auditor");
		bank.auditor = (int)syscall(SYS_gettid);
		bank.audit();
	}).detach();
	std::this_thread::sleep_for(std::chrono::seconds(1));
	truth_print_open(nullptr, 0);
	std::printf(",\"threads\":[{\"name\":\"payer\",\"tid\":%d},{\"name\":\"auditor\",\"tid\":%d}],\"locks\":[%llu,%llu]}\n", bank.payer.load(),
		bank.auditor.load(), (unsigned long long)(uintptr_t)&bank.accounts, (unsigned long long)(uintptr_t)&bank.journal);
	std::fflush(stdout);
	for (uint64_t end = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9); truth_monotonic_nsec() < end && !truth_stopped();)
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
	_exit(0);
}
