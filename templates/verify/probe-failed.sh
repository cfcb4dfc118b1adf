# Says why a probe did not start, by the engine's $words, and ends.
# Exit status 3: the image is not here. 4: the agent of the engine's store is down, and nobody is starting it. 1: anything else.
failed() {
    printf '%s\n' "$words" >&2
    case $words in
    *"No such image"*) exit 3 ;;
    # An engine finds no network while its store's agent is down.
    *"not found"*) if stays_down docker-cluster-consul.service; then exit 4; fi ;;
    esac
    exit 1
}
