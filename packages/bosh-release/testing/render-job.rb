# Renders the templates of a BOSH job as a Director shows them to ERB: a stand-in for the Director's own classes, which are
# not published as something that could be installed. On stdin a JSON object:
#   { "job": folder of the job, "into": folder, "context": { "spec", "properties", "links" } }
# Defaults come from the job's spec; what the spec does not declare is not visible. Ends with 1 and a message on stderr.
require 'erb'
require 'fileutils'
require 'json'
require 'shellwords'
require 'yaml'

# A dotted name in nested hashes; nil where there is nothing.
def look_up(properties, name)
  name.split('.').reduce(properties) do |found, key|
    return nil if found.nil?
    unless found.is_a?(Hash) || found.is_a?(Array)
      raise "Property '#{name}' expects a hash, but received '#{found.class}'"
    end

    found[key]
  end
end

# What `p` and `if_p` find, of a job, of a link and of an instance of a link.
module Properties
  def p(names, *default)
    names = Array(names)
    names.each do |name|
      value = look_up(@visible, name)
      return value unless value.nil?
    end
    return default.first unless default.empty?

    raise "Can't find property '#{names.join("', or '")}'"
  end

  def if_p(*names)
    values = names.map { |name| look_up(@visible, name) }
    return Else.new(self) if values.any?(&:nil?)

    yield(*values)
    Done.new
  end
end

# What follows an `if_p` or `if_link` that was not taken.
class Else
  def initialize(context)
    @context = context
  end

  def else
    yield
  end

  def else_if_p(*names, &block)
    @context.if_p(*names, &block)
  end

  def else_if_link(name, &block)
    @context.if_link(name, &block)
  end
end

# What follows one that was.
class Done
  def else; end

  def else_if_p(*)
    self
  end

  def else_if_link(*)
    self
  end
end

class LinkInstance
  include Properties
  attr_reader :name, :index, :id, :az, :address, :bootstrap, :properties

  def initialize(given)
    @name, @index, @id, @az, @address, @bootstrap = given.values_at('name', 'index', 'id', 'az', 'address', 'bootstrap')
    @properties = @visible = given['properties']
  end
end

class Link
  include Properties
  attr_reader :instances, :properties

  def initialize(given)
    @instances = given.fetch('instances').map { |instance| LinkInstance.new(instance) }
    @properties = @visible = given['properties']
  end

  # The Director answers with a name of its own DNS, which a test cannot resolve.
  def address(*)
    raise 'link.address needs a Director'
  end
end

# `spec.name`, and nil for what there is not, as an OpenStruct has it.
class Fields
  def initialize(fields)
    @fields = fields
  end

  def [](key)
    wrap(@fields[key.to_s])
  end

  def to_h
    @fields.to_h { |key, value| [key.to_sym, wrap(value)] }
  end

  def respond_to_missing?(*)
    true
  end

  def method_missing(name, *arguments)
    raise NoMethodError, "undefined method `#{name}' of spec" unless arguments.empty?

    wrap(@fields[name.to_s])
  end

  private

  def wrap(value)
    value.is_a?(Hash) ? Fields.new(value) : value
  end
end

# `self` of every template.
class Context
  include Properties
  attr_reader :spec, :name, :index

  def initialize(declared, context)
    spec = context.fetch('spec')
    @spec = Fields.new(spec)
    @name, @index = spec.values_at('name', 'index')
    @links = links(declared, context['links'] || {})
    @visible = visible(declared, context['properties'] || {})
  end

  def link(name)
    given = @links[name]
    raise "Can't find link '#{name}'" if given.nil?

    Link.new(given)
  end

  def if_link(name)
    return Else.new(self) if @links[name].nil?

    yield link(name)
    Done.new
  end

  def bind
    binding
  end

  private

  def links(declared, given)
    known = (declared['consumes'] || []).map { |consumed| consumed['name'] }
    unknown = given.keys - known
    raise "Link '#{unknown.first}' is not declared as a consumed link in this job." unless unknown.empty?

    given
  end

  def visible(declared, given)
    (declared['properties'] || {}).each_with_object({}) do |(name, definition), properties|
      value = look_up(given, name)
      value = (definition || {})['default'] if value.nil?
      *path, last = name.split('.')
      path.reduce(properties) { |hash, key| hash[key] ||= {} }[last] = value
    end
  end
end

# The message alone: Ruby's own of a NameError would show all properties, secrets too.
def explain(error, file)
  message = error.is_a?(NameError) ? "undefined: #{error.name}" : error.message
  line = (error.backtrace || []).map { |at| at[/\A#{Regexp.escape(file)}:(\d+)/, 1] }.compact.first
  "#{file}#{line ? ":#{line}" : ''}: #{message}"
end

input = $stdin.read
job, into = JSON.parse(input).values_at('job', 'into')
declared = YAML.safe_load(File.read(File.join(job, 'spec')), aliases: true)
files = { 'monit' => File.join(job, 'monit') }
(declared['templates'] || {}).each { |from, to| files[to] = File.join(job, 'templates', from) }

errors = []
files.each do |to, from|
  begin
    # Parsed anew: what one template changes no other one sees.
    context = Context.new(declared, JSON.parse(input).fetch('context'))
    template = ERB.new(File.read(from), trim_mode: '-')
    template.filename = from
    text = template.result(context.bind)
  rescue StandardError, ScriptError => e
    errors << explain(e, from)
    next
  end
  path = File.join(into, to)
  FileUtils.mkdir_p(File.dirname(path))
  File.write(path, text)
  # As the agent sets them.
  File.chmod(to.start_with?('bin/') ? 0o750 : 0o640, path)
end
abort(errors.join("\n")) unless errors.empty?
