// Lists a tar stream with Go's archive/tar: a line for each entry with everything that a tar has of it.
//
// `list gzip < archive` reads the first gzip member alone, and fails when anything stands behind it; `list tar < stream`
// reads a plain tar; `list sizes < file` passes over the content and prints sizes alone. A line: type, mode in octal, seconds, size, name, link name, SHA-256 of the content, and
// `name=value` for each extended attribute. Names and values are hexadecimal; what is empty is `-`.
package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"
)

func main() {
	file := bufio.NewReader(os.Stdin)
	switch os.Args[1] {
	case "sizes":
		sizes(os.Stdin)
		return
	case "tar":
		list(file)
		return
	}
	member, err := gzip.NewReader(file)
	check(err)
	member.Multistream(false)
	list(member)
	// The padding, and the member's checksum and length at its end.
	_, err = io.Copy(io.Discard, member)
	check(err)
	if _, err = file.ReadByte(); err != io.EOF {
		log.Fatal("something stands behind the first member")
	}
}

func list(stream io.Reader) {
	const prefix = "SCHILY.xattr."
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		check(err)
		digest := sha256.New()
		_, err = io.Copy(digest, archive)
		check(err)
		content := "-"
		if header.Typeflag == tar.TypeReg {
			content = fmt.Sprintf("%x", digest.Sum(nil))
		}
		attributes := []string{}
		for key, value := range header.PAXRecords {
			if strings.HasPrefix(key, prefix) {
				attributes = append(attributes, fmt.Sprintf(" %x=%x", key[len(prefix):], value))
			}
		}
		sort.Strings(attributes)
		fmt.Printf("%c %04o %d %d %x %s %s%s\n", header.Typeflag, header.Mode, header.ModTime.Unix(), header.Size,
			header.Name, hexadecimal(header.Linkname), content, strings.Join(attributes, ""))
	}
}

func sizes(file *os.File) {
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		check(err)
		fmt.Println(header.Size)
	}
}

func hexadecimal(text string) string {
	if text == "" {
		return "-"
	}
	return fmt.Sprintf("%x", text)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
