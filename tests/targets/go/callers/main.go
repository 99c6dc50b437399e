// SPDX-License-Identifier: Apache-2.0

// Callers says what the Go runtime knows about addresses of its own program: for COUNT addresses spread evenly over .text
// one line of JSON each, with the address as the file has it (what is loaded elsewhere is moved back) and the frames
// that runtime.CallersFrames gives, innermost first, inlined ones included. No frames means that the runtime says nothing:
// no Go code, or the one function whose name is the first of its table (runtime.funcname takes offset 0 for no name).
// Frames that the runtime hides from profiles are hidden here, too: wrappers such as reflect.callMethod.
//
//	callers [COUNT]
//	{"pc":"0x401000","frames":[{"func":"runtime.f","file":"/.../f.go","line":12}, ...]}
//
// It is the judge of whoever reads the function table of a Go program from outside, stripped ones too.
package main

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	_ "unsafe" // for go:linkname
)

type frame struct {
	Func string `json:"func"`
	File string `json:"file"`
	Line int    `json:"line"`
}

type answer struct {
	PC     string  `json:"pc"`
	Frames []frame `json:"frames"`
}

func main() {
	count := uint64(1000)
	if len(os.Args) > 1 {
		n, err := strconv.ParseUint(os.Args[1], 10, 32)
		if err != nil || n == 0 {
			fmt.Fprintln(os.Stderr, "usage: callers [COUNT]")
			os.Exit(64)
		}
		count = n
	}
	if err := run(count); err != nil {
		fmt.Fprintln(os.Stderr, "callers:", err)
		os.Exit(1)
	}
}

func run(count uint64) error {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer file.Close()
	text := file.Section(".text")
	if text == nil {
		return errors.New("no .text")
	}
	bias, err := loadBias(file)
	if err != nil {
		return err
	}

	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false) // generic functions are named f[...]
	for i := uint64(0); i < count; i++ {
		// Not i*(Size/count): that would fall short of the end.
		pc := text.Addr + uint64(float64(text.Size)*float64(i)/float64(count))
		if err := encoder.Encode(answer{fmt.Sprintf("%#x", pc), framesAt(uintptr(pc + bias))}); err != nil {
			return err
		}
	}
	return out.Flush()
}

// expandFinalInlineFrame is how runtime/pprof learns of the frames inlined at an address: as addresses of the same
// function, one for each frame. CallersFrames alone gives the innermost one only.
//
//go:linkname expandFinalInlineFrame runtime/pprof.runtime_expandFinalInlineFrame
func expandFinalInlineFrame(stack []uintptr) []uintptr

// framesAt asks for pc+1, since the runtime takes return addresses and looks one before them.
func framesAt(pc uintptr) []frame {
	answers := []frame{}
	frames := runtime.CallersFrames(expandFinalInlineFrame([]uintptr{pc + 1}))
	for {
		f, more := frames.Next()
		if f.Function != "" {
			answers = append(answers, frame{f.Function, f.File, f.Line})
		}
		if !more {
			return answers
		}
	}
}

// loadBias is how far the program was moved from the addresses in its file.
func loadBias(file *elf.File) (uint64, error) {
	start, offset, err := firstMapping()
	if err != nil {
		return 0, err
	}
	const page = 4096
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_LOAD && segment.Off/page == offset/page {
			return start - (segment.Vaddr - segment.Vaddr%page), nil
		}
	}
	return 0, fmt.Errorf("no segment at offset %#x", offset)
}

func firstMapping() (start, offset uint64, err error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, 0, err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, 0, err
	}
	for _, line := range strings.Split(string(maps), "\n") {
		if !strings.HasSuffix(line, " "+path) {
			continue
		}
		var end uint64
		var mode string
		_, err := fmt.Sscanf(line, "%x-%x %s %x", &start, &end, &mode, &offset)
		return start, offset, err
	}
	return 0, 0, errors.New("not in its own /proc/self/maps")
}
